"""A pipeline as the settings want it, loaded whole from its files or its one file, or an Error that says what is wrong.

Knows no keyframes and no pictures.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import itertools
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from walk import Error, digests, machine
from walk.families import FAMILIES, WITHOUT, Family
from walk.hub import checkpoint, decoder, denoiser, field, lacking, lora, prediction, read_json, tensors, variant
from walk.samplers import Sampler, chosen
from walk.schedule import REFUSALS
from walk.settings import Settings

SCALING = 0.18215  # of a VAE that says none


def import_diffusers() -> None:
    """Ahead of its use, since that takes a second or two."""
    importlib.import_module("diffusers")


def family_of(folder: Path) -> tuple[str, Family]:
    name = read_json(folder / "model_index.json").get("_class_name")
    if not isinstance(name, str) or name not in FAMILIES:
        raise Error(f"{folder} holds {name or 'no pipeline'}; supported are {', '.join(FAMILIES)}")
    return name, FAMILIES[name]


@contextlib.contextmanager
def _loading(folder: Path, name: str) -> Iterator[None]:
    """What fails within is the folder's fault: a damaged file, or a part that is not there. Or a library is not."""
    try:
        yield
    except Error:
        raise
    except Exception as error:
        if name in FAMILIES and (lack := lacking(str(folder), name)):
            raise lack from error
        again = f"; remove {folder.parent.parent}, and it is downloaded again" * (folder.parent.name == "snapshots")
        raise Error(f"{folder} does not load as a {name}: {reason(error)}{again}") from error


def reason(error: Exception) -> str:
    """What a library says is wrong, to stand within a sentence of ours."""
    if "out of meta tensor" in str(error):
        return "some of its weights are missing"
    said = [*filter(None, (line.strip() for line in str(error).splitlines())), type(error).__name__]
    return " ".join(said[: 2 if said[0].endswith(":") else 1]).rstrip(".")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Bars and advice of the libraries are left out within; afterwards they say what their user wants them to say.

    Their errors, too: diffusers logs some that it raises.
    """
    from diffusers.utils import logging as of_diffusers
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars  # type: ignore[attr-defined]
    from transformers.utils import logging as of_transformers

    before = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in (of_diffusers, of_transformers)]
    no_downloads = are_progress_bars_disabled()  # transformers switches these together with its own
    for log, _, _ in before:
        log.set_verbosity(log.CRITICAL)
        log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, verbosity, bars in before:
            log.set_verbosity(verbosity)
            if bars:
                log.enable_progress_bar()
        if no_downloads:
            disable_progress_bars()


def load(folder: Path, settings: Settings) -> tuple[Any, list[str]]:
    """The pipeline with everything that the settings change of it, still in main memory; and notes for the user."""
    with _quiet():
        return _load(folder, settings)


def _load(folder: Path, settings: Settings) -> tuple[Any, list[str]]:
    libraries(settings)  # which may raise Error
    name, family = family_of(folder)
    dtype = getattr(torch, settings.dtype)
    parts = {}
    if settings.denoiser != "own":
        parts[family.denoiser] = _denoiser(folder / family.denoiser, denoiser(settings.denoiser), dtype)
    with _loading(folder, name):
        pipe = _loaded(folder, name, dtype, checkpoint(settings.model), parts)
        _check_tokenizers(pipe)
        _check_whole(pipe.components)
    notes = _add_loras(pipe, settings, getattr(pipe, family.denoiser))
    if other := other_decoder(settings, family):
        pipe.register_modules(vae=_decoder(folder / "vae", decoder(other), dtype))
    if family.upcast and dtype == torch.float16 and pipe.vae.config.get("force_upcast"):
        pipe.vae.to(torch.float32)
    pipe.scheduler = _scheduled(sampler(folder, settings.scheduler), pipe.scheduler.config)
    return pipe, notes


def _loaded(folder: Path, name: str, dtype: torch.dtype, file: Path | None, given: dict[str, Any]) -> Any:
    """The pipeline that a folder holds, or that it describes and a file holds; but for the parts that are given."""
    import diffusers

    loader: Any = getattr(diffusers, name)
    without = dict.fromkeys(WITHOUT) | {"requires_safety_checker": False}
    more: dict[str, Any] = {name: without[name] for name in inspect.signature(loader).parameters if name in without}
    more |= given
    index = read_json(folder / "model_index.json")
    if file is not None:
        pipe = loader.from_single_file(file, config=str(folder), dtype=dtype, local_files_only=True, **more)
        pipe.scheduler.register_to_config(**prediction(file))
        return pipe
    more |= {part: None for part, value in index.items() if value == [None, None]}  # left out, as SD3's T5 may be
    form = variant(folder)
    parts: dict[str, Any] = {
        part: _text_encoder(folder / part, value[1], dtype, form)
        for part, value in index.items()
        if part.startswith("text_encoder") and isinstance(value, list) and value[0] == "transformers"
    }
    parts |= more
    return loader.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, variant=form, **parts
    )


def check_denoiser(folder: Path, settings: Settings, family: Family) -> None:
    """Raise Error if another one than the model's own is wanted, and cannot be read, or is of another model."""
    if settings.denoiser == "own":
        return
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

    file, config = denoiser(settings.denoiser), read_json(folder / family.denoiser / "config.json")
    if (kind := config.get("_class_name")) not in SINGLE_FILE_LOADABLE_CLASSES:
        raise Error(f"diffusers reads no {kind} from a file of its own; leave out --denoiser")
    guided = any("guidance_in." in name or "guidance_embedder" in name for name in _names(file))
    if guided and config.get("guidance_embeds") is False:  # diffusers would leave it out, and make wrong pictures
        raise Error(f"{file} has guidance built in, and the model has not; give what it was made from as --model")


def is_quantised(settings: Settings) -> bool:
    """Whether the denoiser is, and unpacks its weights whenever it works."""
    return settings.denoiser != "own" and denoiser(settings.denoiser).suffix == ".gguf"


def _names(file: Path) -> list[str]:
    """Of the tensors in a file of weights. Raises Error if they cannot be read."""
    if file.suffix != ".gguf":
        return list(tensors(file))
    import gguf

    with _loading(file, "GGUF file"):
        return [tensor.name for tensor in gguf.GGUFReader(file).tensors]


def _denoiser(folder: Path, file: Path, dtype: torch.dtype) -> Any:
    """Out of a file, as the folder describes it. What is quantised in it (GGUF) stays so, and each linear layer unpacks
    its weights when it works."""
    import diffusers

    config = read_json(folder / "config.json")
    loader: Any = getattr(diffusers, config["_class_name"])
    packing: Any = diffusers.GGUFQuantizationConfig
    quantised = file.suffix == ".gguf"
    more = {"quantization_config": packing(compute_dtype=dtype)} if quantised else {}
    with _loading(file, config["_class_name"]):
        made = loader.from_single_file(
            str(file), config=str(folder.parent), subfolder=folder.name, dtype=dtype, local_files_only=True, **more
        )
        _check_whole({"it": made})
        if quantised:
            _unpack(made, dtype)
    return made


def _unpack(part: torch.nn.Module, dtype: torch.dtype) -> None:
    """Weights elsewhere than in linear layers, of which diffusers would take the packed bytes for numbers."""
    from diffusers.quantizers.gguf import utils

    unpacked: Any = utils.dequantize_gguf_tensor
    for module in part.modules():
        for held in (module._parameters, module._buffers):
            for name, packed in held.items():
                if isinstance(packed, utils.GGUFParameter) and not (
                    isinstance(module, utils.GGUFLinear) and name == "weight"
                ):
                    held[name] = torch.nn.Parameter(unpacked(packed).to(dtype), requires_grad=False)


def other_decoder(settings: Settings, family: Family) -> str:
    """A file, folder or hub id, if not the model's own decoder is wanted."""
    if settings.decoder == "tiny" and not family.tiny:
        able = ", ".join(name for name, family in FAMILIES.items() if family.tiny)
        raise Error(f"there is no tiny decoder for this model; there is one for {able}")
    return {"own": "", "tiny": family.tiny}.get(settings.decoder, settings.decoder)


def check_decoder(folder: Path, settings: Settings, family: Family) -> None:
    """Raise Error if another decoder is wanted that is not for this model's latents, as far as its file tells."""
    if not (name := other_decoder(settings, family)):
        return
    path, own = decoder(name), folder / "vae" / "config.json"
    wrong = _unlike(own, path / "config.json") if path.is_dir() else _unlike_file(own, tensors(path))
    if wrong:
        raise Error(f"{name} is not for this model: {wrong}; give another --decoder")


def _unlike(own: Path, other: Path) -> str:
    """What tells a VAE from the model's own, by their configurations, so that it is not for the same latents."""
    mine, its = read_json(own), read_json(other)
    kind = its["_class_name"]
    if kind not in (mine.get("_class_name"), "AutoencoderTiny"):
        return f"it is of {kind}, and the model takes {mine.get('_class_name')} or AutoencoderTiny"
    if (a := its.get("latent_channels", 4)) != (b := mine.get("latent_channels", 4)):
        return f"it decodes latents of {a} channels, and this model's have {b}"
    if (a := pixels_a_latent(other)) != (b := pixels_a_latent(own)):
        return f"it makes {a}x{a} pixels of a latent, and this model's are {b}x{b}"
    for name, usual in (("scaling_factor", SCALING), ("shift_factor", 0)):
        if kind != "AutoencoderTiny" and (a := its.get(name) or usual) != (b := mine.get(name) or usual):
            return f"its {name} is {a}, and this model's is {b}"
    return ""


def _unlike_file(own: Path, shapes: Mapping[str, Any]) -> str:
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

    config = read_json(own)
    if (kind := config.get("_class_name")) not in SINGLE_FILE_LOADABLE_CLASSES:
        return f"diffusers reads no {kind} from a file of its own"
    if not all(any(f"{part}." in name for name in shapes) for part in ("encoder", "decoder")):
        return "it is not a whole VAE, with its encoder and its decoder"
    found = [it.shape[1] for name, it in shapes.items() if name.endswith("decoder.conv_in.weight") and it.shape[1:]]
    if found and found[0] != config.get("latent_channels", 4):
        return f"it decodes latents of {found[0]} channels, and this model's have {config.get('latent_channels', 4)}"
    return ""


def pixels_a_latent(config: Path) -> int:
    """Of a side: each step of the VAE but the first halves it."""
    names = {"encoder_block_out_channels": -1, "temperal_downsample": 0, "block_out_channels": -1}
    found = next((name for name in names if name in read_json(config)), "block_out_channels")
    if not isinstance(blocks := field(config, found), list):
        raise Error(f"{config} is damaged ({found} is no list)")
    return 2 ** (len(blocks) + names[found])


def widens(settings: Settings, family: Family) -> bool:
    """Whether what decodes does so in float32, and the rest in float16, in which some overflow."""
    path = decoder(name) if (name := other_decoder(settings, family)) else None
    config = read_json(path / "config.json") if path and path.is_dir() else {}
    usual = config.get("_class_name", "AutoencoderKL") == "AutoencoderKL"  # whose files may leave it out
    return family.upcast and bool(config.get("force_upcast", usual))


def _decoder(own: Path, path: Path, dtype: torch.dtype) -> Any:
    """Out of a folder, or out of a file as the folder of the model's own describes it."""
    import diffusers

    name = read_json((path if path.is_dir() else own) / "config.json")["_class_name"]
    loader: Any = getattr(diffusers, name)
    with _loading(path, name):
        if path.is_dir():
            made = loader.from_pretrained(path, use_safetensors=True, local_files_only=True)
        else:
            where = {"config": str(own.parent), "subfolder": own.name}
            made = loader.from_single_file(str(path), **where, local_files_only=True)
        _check_whole({"it": made})
        return made.to(dtype)  # last, since what is missing cannot be


def libraries(settings: Settings) -> list[str]:
    """Those whose versions decide pixels. Raises Error for one that is missing."""
    found = ["torch", "diffusers", "transformers"]
    for what, name, needed in (
        ("a LoRA", "peft", bool(settings.loras())),
        ("a .gguf file", "gguf", is_quantised(settings)),
    ):
        if needed and importlib.util.find_spec(name) is None:
            raise Error(f"{what} needs a library that is not here; pip install {name}")
        found += [name] * needed
    return found


def _add_loras(pipe: Any, settings: Settings, denoiser: Any) -> list[str]:
    """Into the weights, so that a step takes no longer; to those that are quantised one cannot add, so beside them.
    Returns notes on what of them has no place in the model."""
    loras, notes = settings.loras(), list[str]()
    if not loras:
        return notes
    if not hasattr(pipe, "load_lora_weights"):
        raise Error(f"diffusers knows no LoRAs for a {type(pipe).__name__}; leave out --lora")
    channels = denoiser.config.in_channels
    for number, (name, _) in enumerate(loras):
        path = lora(name)
        names = tensors(path)
        if not any("lora" in name for name in names):
            raise Error(f"{path} is no LoRA; a whole checkpoint is given as --model")
        try:
            pipe.load_lora_weights(path.parent, weight_name=path.name, adapter_name=f"lora{number}")
            if f"lora{number}" not in itertools.chain(*pipe.get_list_adapters().values()):
                raise ValueError("none of its weights has a place in the model")
            if denoiser.config.in_channels != channels:  # as of Flux's 'Control LoRAs'
                raise ValueError("it paints after another picture, and there is none")
        except Exception as error:
            why = "it was made for another one" if "size mismatch" in str(error) else reason(error)
            raise Error(
                f"the LoRA {path} does not fit the model: {why}; give another --lora, or --lora none"
            ) from error
        layers, placed = sum(map(_is_layer, names)), _placed(pipe, f"lora{number}")
        if placed < layers:
            notes.append(f"of the LoRA {path.name}, {layers - placed} of {layers} layers have no place in the model")
    pipe.set_adapters([f"lora{number}" for number in range(len(loras))], [weight for _, weight in loras])
    if not is_quantised(settings):
        _fuse_loras(pipe, settings.lora)
    return notes


def _is_layer(name: str) -> bool:
    """Whether a tensor of a LoRA is the first of a layer's two, however its trainer called them."""
    return name.endswith(("lora_down.weight", "lora_A.weight", "lora.down.weight", "lora_A.default.weight"))


def _placed(pipe: Any, adapter: str) -> int:
    """How many layers of the pipeline have it. A file may have several of them in one."""
    parts = (part for part in pipe.components.values() if isinstance(part, torch.nn.Module))
    return sum(adapter in getattr(module, "lora_A", ()) for part in parts for module in part.modules())


def _fuse_loras(pipe: Any, names: str) -> None:
    from diffusers.loaders.lora_base import LoraBaseMixin

    try:
        pipe.fuse_lora(components=list(pipe.get_list_adapters()))  # Flux by itself leaves its text encoder out
    except RuntimeError as error:  # as of a bias where the model has none
        raise Error(f"--lora {names} cannot be added to the model's weights: {reason(error)}") from error
    # Flux's own would bring back the norm layers that a LoRA has replaced.
    LoraBaseMixin.unload_lora_weights(pipe)  # type: ignore[no-untyped-call]


def check_compiles(family: Family, device: str) -> None:
    """Raises Error if it is known that a denoiser cannot be compiled, or had better not be."""
    if device.startswith("cuda") and importlib.util.find_spec("triton") is None:
        name = "triton-windows" if sys.platform == "win32" else "triton"
        raise Error(
            f"nothing can be compiled for an NVIDIA GPU without triton; pip install {name}, or give --compile off"
        )
    if not family.compiles:
        raise Error("models of this family would be compiled anew for each length of a prompt; give --compile off")


def compile_parts(denoiser: Any, vae: Any, family: Family, device: str) -> None:
    """The denoiser, and what decodes, which is more work than a single step, with their first batch. A transformer's
    blocks are one program, compiled once: a tenth of the time for the same speed (diffusers' page 'Accelerate
    inference', 'Regional compilation'). Where each picture has another number of tokens, for any number: eight programs
    are the most that torch makes of one.

    Of several ways to add numbers up the compiler takes the one that was fastest when it tried them, and they round
    otherwise. What it took is kept, for films that are gone on with: by itself it would be among temporary files.

    Raises Error like `check_compiles`, and where torch cannot compile.
    """
    check_compiles(family, device)
    with contextlib.suppress(OSError):
        (kept := digests.cache() / "compiled").mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(kept))
    try:
        if family.denoiser == "transformer" and getattr(denoiser, "_repeated_blocks", None):
            denoiser.compile_repeated_blocks(dynamic=family.one_at_a_time)
        else:
            denoiser.compile(dynamic=family.one_at_a_time)
        if type(vae).__name__ == "AutoencoderKL":  # those of videos take frame by frame, each with programs of its own
            vae.decoder.compile(dynamic=False)
    except RuntimeError as error:  # as on a Python that is newer than torch
        raise _uncompiled(error) from error


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """What fails to compile within is the machine's fault: most lack a compiler."""
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        if machine.is_out_of_memory(error):
            raise torch.OutOfMemoryError(str(error)) from None
        raise _uncompiled(error) from error


def _uncompiled(error: Exception) -> Error:
    return Error(f"the model cannot be compiled here: {reason(error)}; give --compile off")


def bring_places(denoiser: Any) -> None:
    """Where each token of a picture is: two denoisers work that out on the CPU (CogView4), or look it up there
    (Lumina 2), and have a GPU wait for it at every step, or in every block. It is brought once."""
    brought: dict[Any, Any] = {}

    def worked_out(rope: Any, given: Any, made: Any) -> Any:
        size = given[0].shape[2:], given[0].device
        if size not in brought:
            brought[size] = tuple(each.to(given[0].device) for each in made)
        return brought[size]

    def looked_up(rope: Any, given: Any) -> None:
        rope.freqs_cis = [each.to(given[0].device) for each in rope.freqs_cis]

    if type(denoiser).__name__ == "CogView4Transformer2DModel":
        denoiser.rope.register_forward_hook(worked_out)
    elif type(denoiser).__name__ == "Lumina2Transformer2DModel":
        denoiser.rope_embedder.register_forward_pre_hook(looked_up)


def text_encoders(pipe: Any) -> list[tuple[str, Any]]:
    return _parts(pipe, "text_encoder")


def tokenizers(pipe: Any) -> list[tuple[str, Any]]:
    """Which some have within what reads pictures, too."""
    return [(name, getattr(part, "tokenizer", part)) for name, part in _parts(pipe, "tokenizer", "processor")]


def _parts(pipe: Any, *kinds: str) -> list[tuple[str, Any]]:
    return [(name, part) for name, part in pipe.components.items() if name.startswith(kinds) and part is not None]


def without_text(pipe: Any) -> Any:
    """The same pipeline without its text encoders, so that these may leave the GPU."""
    text = {name: None for name, _ in text_encoders(pipe)}
    own = {name: pipe.config[name] for name in inspect.signature(type(pipe)).parameters if name in pipe.config}
    painter = type(pipe)(**own | pipe.components | text)
    painter.set_progress_bar_config(disable=True)
    return painter


def _text_encoder(folder: Path, name: str, dtype: torch.dtype, form: str | None) -> Any:
    """transformers fills what a file lacks with random numbers, others at each load."""
    form = form if form and any(folder.glob(f"*.{form}*")) else None
    import transformers

    read_json(folder / "config.json")
    loader: Any = getattr(transformers, name)
    encoder, info = loader.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, variant=form, output_loading_info=True
    )
    if info["missing_keys"]:
        raise ValueError(f"{folder.name} has no {min(info['missing_keys'])}")
    return encoder


def _check_whole(parts: Mapping[str, Any]) -> None:
    """diffusers leaves what a file lacks without a value."""
    for part, module in parts.items():
        for name, tensor in module.named_parameters() if isinstance(module, torch.nn.Module) else ():
            if tensor.is_meta:
                raise ValueError(f"{part} has no {name}")


def _check_tokenizers(pipe: Any) -> None:
    """transformers makes a useless tokenizer where its files are missing, and says nothing."""
    for name, tokenizer in tokenizers(pipe):
        encoder = pipe.components.get(name.replace("tokenizer", "text_encoder").replace("processor", "text_encoder"))
        if encoder is None:
            continue
        config = encoder.config.get_text_config()
        clip = "clip" in config.model_type  # others have room for more words than they know
        if len(tokenizer) < (config.vocab_size if clip else config.vocab_size * 0.9):
            raise ValueError(
                f"the {name} knows {len(tokenizer)} of {config.vocab_size} words; is tokenizer.json missing?"
            )
        if clip and tokenizer.model_max_length > config.max_position_embeddings:
            raise ValueError(f"the {name} has no limit; is tokenizer_config.json missing?")


def sampler(folder: Path, name: str | None) -> Sampler:
    """The scheduler that a model is to have: its own, or the named one if it can stand in for it."""
    import diffusers

    file = folder / "scheduler" / "scheduler_config.json"
    own = getattr(diffusers, str(field(file, "_class_name")), None)
    if own is None:
        raise Error(f"{file} names a scheduler that diffusers {diffusers.__version__} does not have")
    return chosen(own, [] if name is None else _stand_ins(own), name)  # whose modules take half a second to import


def scheduler(folder: Path, settings: Settings) -> Any:
    """As the model will have it."""
    config = read_json(folder / "scheduler" / "scheduler_config.json")
    if file := checkpoint(settings.model):
        config |= prediction(file)
    with _quiet():
        return _scheduled(sampler(folder, settings.scheduler), config)


def _stand_ins(own: Any) -> list[Any]:
    """The schedulers that can take their schedule of noise from this one."""
    import diffusers

    found = [*own._get_compatibles()]
    if diffusers.DDIMScheduler in found:
        # Which diffusers does not list: few steps, by LoRAs that were made for them (its pages 'Latent Consistency
        # Model' and 'Trajectory Consistency Distillation-LoRA').
        found += [diffusers.LCMScheduler, diffusers.TCDScheduler]
    # Not those that lack their libraries, nor the one that draws noise from no generator of ours.
    return [kind for kind in found if not hasattr(kind, "_backends") and kind.__name__ != "DPMSolverSDEScheduler"]


def _scheduled(asked: Sampler, config: Any) -> Any:
    try:
        return asked.kind.from_config(config, **asked.options)
    except REFUSALS as error:
        name = asked.kind.__name__
        raise Error(f"{name} does not fit this model: {reason(error)}; give another --scheduler") from error
