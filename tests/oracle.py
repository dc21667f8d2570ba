"""A keyframe's picture, made by walk and made without it; and how far two pictures are apart."""

import copy
import functools

import diffusers
import numpy as np
import torch

from walk import Settings, models


def load(folder, **settings):
    return models.load(Settings(model=str(folder), device="cpu", **({"steps": 4} | settings)))


def pictures(model, *keyframes):
    """What the model makes of keyframes, in one batch."""
    conditionings = [model.encode(keyframe) for keyframe in keyframes]
    conditioning = {name: torch.stack([c[name] for c in conditionings]) for name in conditionings[0]}
    noise = torch.stack([model.noise(keyframe.seed) for keyframe in keyframes])
    return model.decode(model.denoise(noise, conditioning))().numpy()


def mean(model, *keyframes):
    """Of the conditionings of two; of masks, the tokens that either hears."""
    a, b = map(model.encode, keyframes)
    return {
        name: (a[name] + b[name]) / 2 if a[name].is_floating_point() else torch.maximum(a[name], b[name]) for name in a
    }


@functools.lru_cache(maxsize=2)
def plain_pipe(folder):
    """Not to be changed; nor is the folder."""
    return diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)


def plain(folder, keyframe, scheduler=None, options=None, **call):
    """The same picture as any user of diffusers makes it, without us."""
    pipe = copy.copy(plain_pipe(folder))
    kind = getattr(diffusers, scheduler) if scheduler else type(pipe.scheduler)
    pipe.scheduler = kind.from_config(pipe.scheduler.config, **options or {})
    generator = torch.Generator().manual_seed(keyframe.seed)
    image = pipe(keyframe.prompt, negative_prompt=keyframe.negative_prompt, generator=generator, **call).images[0]
    return np.asarray(image)


def levels(a, b):
    """The largest difference between two pictures, in levels of 255."""
    assert a.shape == b.shape
    return np.abs(a.astype(int) - b.astype(int)).max()


def assert_the_same(picture, expected):
    """Within a level of 255, and that in a few places only."""
    assert levels(picture, expected) <= 1
    assert np.mean(picture != expected) < 0.01
