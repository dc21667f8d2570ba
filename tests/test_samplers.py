"""Schedulers, by the names that people know. What they make of a picture: tests/test_models.py."""

import diffusers
import pytest

from walk import Error, samplers

OTHERS = [
    getattr(diffusers, f"{name}Scheduler")
    for name in (
        *("DDIM", "PNDM", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "LMSDiscrete", "KDPM2Discrete"),
        *("KDPM2AncestralDiscrete", "DPMSolverMultistep", "DPMSolverSinglestep", "UniPCMultistep", "LCM"),
    )
]
MULTISTEP = "DPMSolverMultistepScheduler"
SDE = "algorithm_type=sde-dpmsolver++"


def chosen(text, own=diffusers.PNDMScheduler, others=OTHERS):
    return samplers.chosen(own, others, text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (None, "PNDMScheduler"),
        ("DDIMScheduler", "DDIMScheduler"),
        ("ddim", "DDIMScheduler"),
        ("PLMS", "PNDMScheduler:skip_prk_steps=true"),
        ("Euler", "EulerDiscreteScheduler"),
        ("Euler a", "EulerAncestralDiscreteScheduler"),
        ("euler_ancestral", "EulerAncestralDiscreteScheduler"),
        ("Euler SGM Uniform", "EulerDiscreteScheduler:timestep_spacing=trailing"),
        ("Euler Simple", "EulerDiscreteScheduler:timestep_spacing=trailing"),
        ("Heun Exponential", "HeunDiscreteScheduler:use_exponential_sigmas=true"),
        ("LMS Karras", "LMSDiscreteScheduler:use_karras_sigmas=true"),
        ("DPM2 a Karras", "KDPM2AncestralDiscreteScheduler:use_karras_sigmas=true"),
        ("dpm_2", "KDPM2DiscreteScheduler"),
        ("DPM++ SDE", "DPMSolverSinglestepScheduler"),
        ("DPM++ 2M", MULTISTEP),
        ("dpmpp_2m_karras", f"{MULTISTEP}:use_karras_sigmas=true"),
        ("DPM++ 2M SDE Karras", f"{MULTISTEP}:{SDE},use_karras_sigmas=true"),
        ("dpmpp_3m_sde", f"{MULTISTEP}:{SDE},solver_order=3"),
        ("uni_pc beta", "UniPCMultistepScheduler:use_beta_sigmas=true"),
        ("lcm", "LCMScheduler"),
        (":timestep_spacing=trailing", "PNDMScheduler:timestep_spacing=trailing"),
        (
            "Euler: use_karras_sigmas = True , sigma_max=14",
            "EulerDiscreteScheduler:sigma_max=14,use_karras_sigmas=true",
        ),
        (f"{MULTISTEP}:dynamic_thresholding_ratio=1", f"{MULTISTEP}:dynamic_thresholding_ratio=1.0"),
    ],
)
def test_a_name_and_options_mean_a_class_and_what_it_is_made_with(text, meant):
    sampler = chosen(text)
    assert str(sampler) == meant
    assert chosen(meant) == sampler
    sampler.kind(**sampler.options)


def test_a_flow_models_scheduler_has_its_own_options_and_is_eulers():
    own = diffusers.FlowMatchEulerDiscreteScheduler
    assert str(chosen(":shift=3", own, [own])) == "FlowMatchEulerDiscreteScheduler:shift=3.0"
    assert str(chosen("Euler Simple", own, [own])) == "FlowMatchEulerDiscreteScheduler", "as it is by itself"
    assert str(chosen("Euler Karras", own, [own])) == "FlowMatchEulerDiscreteScheduler:use_karras_sigmas=true"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Magic", "scheduler 'Magic' is unknown or does not fit this model; these fit: Euler a, DPM2, DPM2 a,"),
        (
            "DMP++ 2M Karras",
            "scheduler 'DMP++ 2M Karras' is unknown or does not fit this model; did you mean DPM++ 2M?",
        ),
        ("UniPCs", "scheduler 'UniPCs' is unknown or does not fit this model; did you mean UniPC?"),
        ("Karras", "scheduler 'Karras' is unknown"),
        ("TCD", "scheduler 'TCD' is unknown or does not fit this model"),
        ("Euler a Karras", "EulerAncestralDiscreteScheduler has no use_karras_sigmas; it has num_train_timesteps, "),
        ("Euler:=", "EulerDiscreteScheduler has no option without a name; it has "),
        ("Euler:shift=3", "EulerDiscreteScheduler has no shift; it has "),
        ("Euler:trained_betas=1", "EulerDiscreteScheduler has no trained_betas; it has "),
        ("Euler:karras", "'karras' is not an option of a scheduler; options are written use_karras_sigmas=true,"),
        ("Euler:use_karras_sigmas=1", "use_karras_sigmas of EulerDiscreteScheduler is true or false, not 1"),
        ("Euler:steps_offset=0.5", "steps_offset of EulerDiscreteScheduler is a whole number, not 0.5"),
        ("Euler:timestep_spacing=2", "timestep_spacing of EulerDiscreteScheduler is a name, not 2"),
        ("Euler:beta_end=high", "beta_end of EulerDiscreteScheduler is a number, not high"),
    ],
)
def test_what_no_scheduler_is_or_has_is_refused_with_what_there_is(text, message):
    with pytest.raises(Error) as caught:
        chosen(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Karras", "; a schedule stands after one of these, as in 'DPM++ 2M Karras'"),
        ("Euler Automatic", "; of schedules there are Karras, Exponential, Beta, SGM Uniform and Simple"),
        ("DPM++ 2M Align Your Steps", "; of schedules there are Karras, Exponential, Beta, SGM Uniform and Simple"),
    ],
)
def test_a_schedule_without_a_sampler_or_of_another_tool_is_said_to_be_one(text, message):
    with pytest.raises(Error) as caught:
        chosen(text)
    assert str(caught.value).endswith(message)
    assert text == "Karras" or f"did you mean {text.split(' A')[0]}?" in str(caught.value)
