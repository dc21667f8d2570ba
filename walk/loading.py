"""Loads a pipeline as the settings want it, whole, from its folder or its one file; or raises an Error that says what
is wrong.

Knows no keyframes and no pictures.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import itertools
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from walk import Error, digests, machine
from walk.families import FAMILIES, WITHOUT, Family
from walk.hub import (
    BARE_CLIP,
    BUNDLED,
    CHECKPOINT_VAE,
    CLIP,
    EMBEDDING,
    checkpoint_scheduler,
    find_checkpoint,
    find_decoder,
    find_denoiser,
    find_lora,
    is_ip_adapter,
    is_lora,
    is_part,
    missing_requirement,
    pipeline_of,
    read_field,
    read_json,
    tensor_shapes,
    weights_variant,
    whole_variants,
)
from walk.samplers import Sampler, chosen
from walk.schedule import REFUSALS
from walk.settings import Settings

_BEYOND = re.compile(r"\.(hada_|lokr_|lora_mid\.|oft_|diff(_b)?$)")  # tensors that LyCORIS has besides a LoRA's
SCALING = 0.18215  # of a VAE whose configuration names none


def import_diffusers() -> None:
    """Import it ahead of its use, since that takes a second or two."""
    importlib.import_module("diffusers")


def family_of(folder: Path) -> tuple[str, Family]:
    """(class name, family) of the pipeline that a model's `model_index.json` names. Raises Error for an unknown one."""
    name = pipeline_of(folder)
    if name not in FAMILIES:
        raise Error(f"{folder} holds {name or 'no pipeline'}; supported are {', '.join(FAMILIES)}")
    return name, FAMILIES[name]


def libraries(settings: Settings) -> list[str]:
    """The libraries whose versions decide pixels. Raises Error for one that is missing."""
    names = ["torch", "diffusers", "transformers"]
    for what, name, needed in (
        ("a LoRA", "peft", bool(settings.loras())),
        ("a .gguf file", "gguf", is_quantised(settings)),
    ):
        if needed and importlib.util.find_spec(name) is None:
            raise Error(f"{what} needs a library that is not here; pip install {name}")
        names += [name] * needed
    if settings.ip_adapter and importlib.util.find_spec("torchvision"):
        names.append("torchvision")  # by which transformers makes pictures smaller, if it is here, and else by Pillow
    return names


@contextlib.contextmanager
def blaming(folder: Path, name: str) -> Iterator[None]:
    """Raise Error for whatever fails within. It is the folder's fault: a file is damaged or missing; or else a library
    is missing."""
    try:
        yield
    except Error:
        raise
    except Exception as error:
        if name in FAMILIES and (missing := missing_requirement(str(folder), name)):
            raise missing from error
        remedy = f"; remove {folder.parent.parent}, and it is downloaded again" * (folder.parent.name == "snapshots")
        raise Error(f"{folder} does not load as a {name}: {reason(error)}{remedy}") from error


def reason(error: Exception) -> str:
    """What a library says is wrong, as a part of a sentence of ours."""
    if "out of meta tensor" in str(error):
        return "some of its weights are missing"
    if "ignore_mismatched_sizes" in str(error):
        return "some of its weights have other shapes than they should"
    if isinstance(error, KeyError) and error.args:
        return f"it has no {error}"
    lines = [*filter(None, (line.strip() for line in str(error).splitlines())), type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1]).rstrip(".")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within, the libraries show no bars, and log no advice and no errors: diffusers logs some that it raises.
    Afterwards they log what their user has set them to.
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
    """The pipeline, in main memory, with everything that the settings change of it; and notes for the user."""
    with quiet():
        return _load(folder, settings)


def _load(folder: Path, settings: Settings) -> tuple[Any, list[str]]:
    libraries(settings)  # which may raise Error
    name, family = family_of(folder)
    dtype = getattr(torch, settings.dtype)
    others = {}
    if settings.denoiser != "own":
        others[family.denoiser] = _load_denoiser(folder / family.denoiser, find_denoiser(settings.denoiser), dtype)
    if other := other_decoder(settings, family):  # first: a checkpoint may have none of its own
        others["vae"] = _load_decoder(folder / "vae", find_decoder(other), dtype)
    file = find_checkpoint(settings.model)
    with blaming(file or folder, name):
        pipe = _load_pipeline(folder, name, dtype, file, others)
        _check_tokenizers(pipe)
        check_whole(pipe.components)
    notes = _add_loras(pipe, settings, getattr(pipe, family.denoiser))
    _skip_layers(pipe, settings.clip_skip - 1)
    if family.upcast and dtype == torch.float16 and pipe.vae.config.get("force_upcast"):
        pipe.vae.to(torch.float32)
    pipe.scheduler = _make_scheduler(sampler(folder, settings.scheduler), pipe.scheduler.config)
    return pipe, notes


def _load_pipeline(folder: Path, name: str, dtype: torch.dtype, file: Path | None, others: dict[str, Any]) -> Any:
    """The pipeline that a folder holds, or that it describes and a file holds. others: parts that take the place of its
    own, which are not loaded."""
    import diffusers

    loader: Any = getattr(diffusers, name)
    without = dict.fromkeys(WITHOUT) | {"requires_safety_checker": False}
    given: dict[str, Any] = {name: without[name] for name in inspect.signature(loader).parameters if name in without}
    given |= others
    index = read_json(folder / "model_index.json")
    if file is not None:
        names = tensor_shapes(file)
        if "vae" not in given and list(index.get("vae", ())) == ["diffusers", "AutoencoderKL"]:
            _check_has_vae(file, names)
        if any(name.startswith(BARE_CLIP) for name in names):
            given["text_encoder"] = _load_bare_clip(folder / "text_encoder", file, dtype)
        pipe = loader.from_single_file(file, config=str(folder), dtype=dtype, local_files_only=True, **given)
        pipe.scheduler.register_to_config(**checkpoint_scheduler(file))
        return pipe
    given |= {part: None for part, value in index.items() if value == [None, None]}  # left out, as SD3's T5 may be
    variant = weights_variant(folder)
    parts: dict[str, Any] = {
        part: load_encoder(folder / part, kind, dtype, variant)
        for part, value in index.items()
        if part.startswith("text_encoder") and is_part(value) and (kind := _text_encoder_class(*value))
    }
    parts |= given
    return loader.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, variant=variant, **parts
    )


def _check_has_vae(file: Path, names: Iterable[str]) -> None:
    """Raise Error if a checkpoint has none, which its authors may have left out on purpose. names: of its tensors."""
    if not any(name.startswith(CHECKPOINT_VAE) for name in names):
        raise Error(f"{file} has no VAE; give one as --decoder, such as the .safetensors file of one for this model")


def _text_encoder_class(library: str, name: str) -> Any:
    """What a pipeline's `model_index.json` says of a text encoder: a class of transformers, or one that diffusers has
    beside the pipeline; None for any other."""
    import diffusers
    import transformers

    where = transformers if library == "transformers" else getattr(diffusers.pipelines, str(library), None)
    return getattr(where, str(name), None)


def load_encoder(folder: Path, kind: Any, dtype: torch.dtype, variant: str | None) -> Any:
    """An encoder of prompts or pictures, of this class. Raises ValueError if weights are missing, in whose place
    transformers puts random numbers, which differ at each load."""
    variant = variant if variant in whole_variants(folder) else None
    read_json(folder / "config.json")
    encoder, info = kind.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, variant=variant, output_loading_info=True
    )
    if info["missing_keys"]:
        raise ValueError(f"{folder.name} has no {min(info['missing_keys'])}")
    return encoder


def _load_bare_clip(folder: Path, file: Path, dtype: torch.dtype) -> Any:
    """The text encoder of a checkpoint under the names of NovelAI's, which most anime models for Stable Diffusion 1 are
    merged from, and which diffusers does not know. (Other tools rename them, too.)"""
    from safetensors import safe_open
    from transformers import CLIPTextConfig, CLIPTextModel

    encoder: Any = CLIPTextModel(CLIPTextConfig.from_pretrained(folder))
    wanted = [*encoder.state_dict()]
    with safe_open(file, "pt") as tensors:
        names = {name: f"{CLIP}{name.removeprefix('text_model.')}" for name in wanted}
        if missing := [original for original in names.values() if original not in tensors.keys()]:  # noqa: SIM118
            raise ValueError(f"it has no {missing[0]}")
        encoder.load_state_dict({name: tensors.get_tensor(original) for name, original in names.items()})
    return encoder.to(dtype).eval()


def check_whole(parts: Mapping[str, Any]) -> None:
    """Raise ValueError if weights are missing, which diffusers leaves without values."""
    for part, module in parts.items():
        for name, tensor in module.named_parameters() if isinstance(module, torch.nn.Module) else ():
            if tensor.is_meta:
                raise ValueError(f"{part} has no {name}")


def _check_tokenizers(pipe: Any) -> None:
    """Raise ValueError if a tokenizer is useless, as transformers makes one, and says nothing, if its files are
    missing."""
    for name, tokenizer in tokenizers(pipe):
        encoder = pipe.components.get(name.replace("tokenizer", "text_encoder").replace("processor", "text_encoder"))
        if encoder is None:
            continue
        config = encoder.config.get_text_config()
        clip = "clip" in config.model_type  # others have more embeddings than their tokenizers have words
        if len(tokenizer) < (config.vocab_size if clip else config.vocab_size * 0.9):
            raise ValueError(
                f"the {name} knows {len(tokenizer)} of {config.vocab_size} words; is tokenizer.json missing?"
            )
        if clip and tokenizer.model_max_length > config.max_position_embeddings:
            raise ValueError(f"the {name} has no limit; is tokenizer_config.json missing?")


def check_skips(folder: Path, settings: Settings, family: Family) -> None:
    """Raise Error if layers of the text encoder are to be skipped that cannot be."""
    if settings.clip_skip == 1:
        return
    if not family.skips:
        able = ", ".join(name for name, family in FAMILIES.items() if family.skips)
        raise Error(
            "models of this family are read at the layer that they were made for (SDXL at its last but one, which other "
            f"tools call 2), so leave out --clip-skip; it is for {able}"
        )
    if settings.clip_skip > (layers := read_field(folder / "text_encoder" / "config.json", "num_hidden_layers")):
        raise Error(f"clip_skip {settings.clip_skip} is out of range; the text encoder has {layers} layers")


def _skip_layers(pipe: Any, count: int) -> None:
    """Leave out the text encoder's last layers, but not its last norm. (The pipelines' own `clip_skip` does it for
    prompts alone, not for negative ones, and fails with today's transformers.)"""
    if count:
        encoder = pipe.text_encoder
        del getattr(encoder, "text_model", encoder).encoder.layers[-count:]


# Another denoiser


def check_denoiser(folder: Path, settings: Settings, family: Family) -> None:
    """Raise Error if another denoiser than the model's own is wanted, and cannot be read, or is of another model."""
    if settings.denoiser == "own":
        return
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

    file, config = find_denoiser(settings.denoiser), read_json(folder / family.denoiser / "config.json")
    if (kind := config.get("_class_name")) not in SINGLE_FILE_LOADABLE_CLASSES:
        raise Error(f"diffusers reads no {kind} from a file of its own; leave out --denoiser")
    guided = any("guidance_in." in name or "guidance_embedder" in name for name in _tensor_names(file))
    if guided and config.get("guidance_embeds") is False:  # diffusers would leave it out, and make wrong pictures
        raise Error(f"{file} has guidance built in, and the model has not; give what it was made from as --model")


def is_quantised(settings: Settings) -> bool:
    """Whether the denoiser is quantised, so that it unpacks its weights whenever it works."""
    return settings.denoiser != "own" and find_denoiser(settings.denoiser).suffix == ".gguf"


def _tensor_names(file: Path) -> list[str]:
    """The names of the tensors in a file of weights. Raises Error if they cannot be read."""
    if file.suffix != ".gguf":
        return list(tensor_shapes(file))
    import gguf

    with blaming(file, "GGUF file"):
        return [tensor.name for tensor in gguf.GGUFReader(file).tensors]


def _load_denoiser(folder: Path, file: Path, dtype: torch.dtype) -> Any:
    """The denoiser in a file, which the folder describes. Quantised weights (GGUF) stay so: each linear layer unpacks
    its own when it works."""
    import diffusers

    config = read_json(folder / "config.json")
    loader: Any = getattr(diffusers, config["_class_name"])
    quantisation: Any = diffusers.GGUFQuantizationConfig
    quantised = file.suffix == ".gguf"
    more = {"quantization_config": quantisation(compute_dtype=dtype)} if quantised else {}
    with blaming(file, config["_class_name"]):
        denoiser = loader.from_single_file(
            str(file), config=str(folder.parent), subfolder=folder.name, dtype=dtype, local_files_only=True, **more
        )
        check_whole({"it": denoiser})
        if quantised:
            _unpack(denoiser, dtype)
    return denoiser


def _unpack(part: torch.nn.Module, dtype: torch.dtype) -> None:
    """Unpack all weights but those of linear layers: elsewhere diffusers would take the packed bytes for numbers."""
    from diffusers.quantizers.gguf import utils

    unpack: Any = utils.dequantize_gguf_tensor
    for module in part.modules():
        for held in (module._parameters, module._buffers):
            for name, packed in held.items():
                if isinstance(packed, utils.GGUFParameter) and not (
                    isinstance(module, utils.GGUFLinear) and name == "weight"
                ):
                    held[name] = torch.nn.Parameter(unpack(packed).to(dtype), requires_grad=False)


# Another decoder


def other_decoder(settings: Settings, family: Family) -> str:
    """The file, folder or hub id of the decoder that is wanted in place of the model's own; '' if that is wanted."""
    if settings.decoder == "tiny" and not family.tiny:
        able = ", ".join(name for name, family in FAMILIES.items() if family.tiny)
        raise Error(f"there is no tiny decoder for this model; there is one for {able}")
    return {"own": "", "tiny": family.tiny}.get(settings.decoder, settings.decoder)


def check_decoder(folder: Path, settings: Settings, family: Family) -> None:
    """Raise Error if another decoder is wanted that is not for this model's latents, as far as its file tells."""
    if not (name := other_decoder(settings, family)):
        return
    path, own = find_decoder(name), folder / "vae" / "config.json"
    difference = _difference(own, path / "config.json") if path.is_dir() else _file_difference(own, tensor_shapes(path))
    if difference:
        raise Error(f"{name} is not for this model: {difference}; give another --decoder")


def _difference(own: Path, other: Path) -> str:
    """Why a VAE is not for the same latents as the model's own, by their configurations; '' if it is."""
    mine, its = read_json(own), read_json(other)
    kind = its["_class_name"]
    if kind not in (mine.get("_class_name"), "AutoencoderTiny"):
        return f"it is of {kind}, and the model takes {mine.get('_class_name')} or AutoencoderTiny"
    if (a := its.get("latent_channels", 4)) != (b := mine.get("latent_channels", 4)):
        return f"it decodes latents of {a} channels, and this model's have {b}"
    if (a := pixels_per_latent(other)) != (b := pixels_per_latent(own)):
        return f"it makes {a}x{a} pixels of a latent, and this model's are {b}x{b}"
    for name, usual in (("scaling_factor", SCALING), ("shift_factor", 0)):
        if kind != "AutoencoderTiny" and (a := its.get(name) or usual) != (b := mine.get(name) or usual):
            return f"its {name} is {a}, and this model's is {b}"
    return ""


def _file_difference(own: Path, shapes: Mapping[str, Any]) -> str:
    """The same for a VAE in a file, by the shapes of its tensors."""
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

    config = read_json(own)
    if (kind := config.get("_class_name")) not in SINGLE_FILE_LOADABLE_CLASSES:
        return f"diffusers reads no {kind} from a file of its own"
    if not all(any(f"{part}." in name for name in shapes) for part in ("encoder", "decoder")):
        return "it is not a whole VAE, with its encoder and its decoder"
    channels = [it.shape[1] for name, it in shapes.items() if name.endswith("decoder.conv_in.weight") and it.shape[1:]]
    if channels and channels[0] != config.get("latent_channels", 4):
        return f"it decodes latents of {channels[0]} channels, and this model's have {config.get('latent_channels', 4)}"
    return ""


def pixels_per_latent(config: Path) -> int:
    """How many pixels of a picture's side one latent stands for: each step of the VAE but the first halves the side."""
    fields = {"encoder_block_out_channels": -1, "temperal_downsample": 0, "block_out_channels": -1}
    name = next((name for name in fields if name in read_json(config)), "block_out_channels")
    if not isinstance(steps := read_field(config, name), list):
        raise Error(f"{config} is damaged ({name} is no list)")
    return 2 ** (len(steps) + fields[name])


def decodes_in_float32(settings: Settings, family: Family) -> bool:
    """Whether the VAE decodes in float32, where the rest works in float16, in which some VAEs overflow."""
    path = find_decoder(name) if (name := other_decoder(settings, family)) else None
    config = read_json(path / "config.json") if path and path.is_dir() else {}
    usual = config.get("_class_name", "AutoencoderKL") == "AutoencoderKL"  # whose configuration may leave it out
    return family.upcast and bool(config.get("force_upcast", usual))


def _load_decoder(own: Path, path: Path, dtype: torch.dtype) -> Any:
    """The VAE in a folder, or in a file that the folder of the model's own describes."""
    import diffusers

    name = read_json((path if path.is_dir() else own) / "config.json")["_class_name"]
    loader: Any = getattr(diffusers, name)
    with blaming(path, name):
        if path.is_dir():
            vae = loader.from_pretrained(path, use_safetensors=True, local_files_only=True)
        else:
            where = {"config": str(own.parent), "subfolder": own.name}
            vae = loader.from_single_file(str(path), **where, local_files_only=True)
        check_whole({"it": vae})
        return vae.to(dtype)  # last, since missing weights cannot be converted


# LoRAs


def _add_loras(pipe: Any, settings: Settings, denoiser: Any) -> list[str]:
    """Add them to the weights, so that a step takes no longer; to quantised weights nothing can be added, so beside
    them. Returns notes on layers of theirs that have no place in the model."""
    loras, notes = settings.loras(), list[str]()
    if not loras:
        return notes
    if not hasattr(pipe, "load_lora_weights"):
        raise Error(f"diffusers knows no LoRAs for a {type(pipe).__name__}; leave out --lora")
    channels = denoiser.config.in_channels
    for number, (name, _) in enumerate(loras):
        path = find_lora(name)
        names = tensor_shapes(path)
        if not is_lora(names):
            what = (
                "an embedding is given as --embedding"
                if len(names) < EMBEDDING
                else "an IP-Adapter is given as --ip-adapter"
                if is_ip_adapter(names)
                else "a whole checkpoint is given as --model"
            )
            raise Error(f"{path} is no LoRA; {what}")
        try:
            _load_lora(pipe, path, names, f"lora{number}")
            if f"lora{number}" not in itertools.chain(*pipe.get_list_adapters().values()):
                raise ValueError("none of its weights has a place in the model")
            if denoiser.config.in_channels != channels:  # as of Flux's 'Control LoRAs'
                raise ValueError("it paints after another picture, and there is none")
        except Exception as error:
            why = "it was made for another one" if _is_of_another(error) else reason(error)
            if beyond := next(filter(_BEYOND.search, names), None):  # else the error lists each of its tensors
                why = f"diffusers does not read its kind (LyCORIS, with {beyond}) for this model"
            raise Error(
                f"the LoRA {path} does not fit the model: {why}; give another --lora, or --lora none"
            ) from error
        if any(each.endswith("dora_scale") for each in names):  # diffusers drops them, and tells nobody but its log
            notes.append(f"the LoRA {path.name} is a DoRA, of which diffusers leaves out a part; pictures will differ")
        layers, placed = sum(map(_is_layer, names)), _count_placed(pipe, f"lora{number}")
        if placed < layers:
            notes.append(f"of the LoRA {path.name}, {layers - placed} of {layers} layers have no place in the model")
    pipe.set_adapters([f"lora{number}" for number in range(len(loras))], [weight for _, weight in loras])
    if not is_quantised(settings):
        _fuse_loras(pipe, settings.lora)
    return notes


def _load_lora(pipe: Any, path: Path, names: Iterable[str], adapter: str) -> None:
    """Load a LoRA, without the embeddings that it may bring with it."""
    if not any(name.startswith(BUNDLED) for name in names):
        pipe.load_lora_weights(path.parent, weight_name=path.name, adapter_name=adapter)
        return
    from safetensors.torch import load_file

    own = {name: tensor for name, tensor in load_file(path).items() if not name.startswith(BUNDLED)}
    pipe.load_lora_weights(own, adapter_name=adapter)


def _is_of_another(error: Exception) -> bool:
    """Whether an error says that a LoRA's layers are not the model's; it may go on to list all of them."""
    return "size mismatch" in str(error) or ("Target modules {" in str(error) and "not found" in str(error))


def _is_layer(name: str) -> bool:
    """Whether a tensor of a LoRA is the first of a layer's two, by any of the names that trainers give them."""
    return name.endswith(("lora_down.weight", "lora_A.weight", "lora.down.weight", "lora_A.default.weight"))


def _count_placed(pipe: Any, adapter: str) -> int:
    """How many layers of the pipeline have the adapter. A layer of its file may serve several of them."""
    parts = (part for part in pipe.components.values() if isinstance(part, torch.nn.Module))
    return sum(adapter in getattr(module, "lora_A", ()) for part in parts for module in part.modules())


def _fuse_loras(pipe: Any, names: str) -> None:
    from diffusers.loaders.lora_base import LoraBaseMixin

    try:
        pipe.fuse_lora(components=list(pipe.get_list_adapters()))  # Flux by itself leaves its text encoder out
    except RuntimeError as error:  # as of a bias where the model has none
        raise Error(f"--lora {names} cannot be added to the model's weights: {reason(error)}") from error
    # Not by the pipeline's own method: Flux's would bring back the norm layers that a LoRA has replaced.
    LoraBaseMixin.unload_lora_weights(pipe)  # type: ignore[no-untyped-call]


# Compilation


def check_compiles(family: Family, device: str) -> None:
    """Raise Error if it is known that a denoiser cannot be compiled, or had better not be."""
    if device.startswith("cuda") and importlib.util.find_spec("triton") is None:
        name = "triton-windows" if sys.platform == "win32" else "triton"
        raise Error(
            f"nothing can be compiled for an NVIDIA GPU without triton; pip install {name}, or give --compile off"
        )
    if not family.compiles:
        raise Error("models of this family would be compiled anew for each length of a prompt; give --compile off")


def compile_parts(denoiser: Any, vae: Any, family: Family, device: str) -> None:
    """Let the denoiser be compiled with its first batch, and the decoder, which is more work than a single step. A
    transformer's blocks are one program, compiled once: that takes a tenth of the time, for the same speed (diffusers'
    page 'Accelerate inference', 'Regional compilation'). Where pictures differ in their number of tokens, the program
    is for any number: torch makes eight programs of one module at most.

    Of several ways to add numbers up, which round differently, the compiler takes the one that was fastest when it
    tried them. Its choice is kept, for films that are resumed: left to itself it would be among temporary files.

    Raises Error like `check_compiles`, and where torch cannot compile.
    """
    check_compiles(family, device)
    with contextlib.suppress(OSError):
        (cache := digests.cache() / "compiled").mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
    try:
        if family.denoiser == "transformer" and getattr(denoiser, "_repeated_blocks", None):
            denoiser.compile_repeated_blocks(dynamic=family.one_at_a_time)
        else:
            denoiser.compile(dynamic=family.one_at_a_time)
        if type(vae).__name__ == "AutoencoderKL":  # those for videos decode frame by frame, by many programs
            vae.decoder.compile(dynamic=False)
    except RuntimeError as error:  # as on a Python that is newer than torch
        raise _compile_error(error) from error


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Raise Error if something within fails to compile. It is the machine's fault: most lack a compiler."""
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        if machine.is_out_of_memory(error):
            raise torch.OutOfMemoryError(str(error)) from None
        raise _compile_error(error) from error


def _compile_error(error: Exception) -> Error:
    return Error(f"the model cannot be compiled here: {reason(error)}; give --compile off")


# Parts of a pipeline


def keep_positions_on_device(denoiser: Any) -> None:
    """Copy the embeddings of tokens' positions to the denoiser's device only once. Two denoisers compute them on the
    CPU (CogView4), or look them up there (Lumina 2), and have a GPU wait for them at every step, or in every block."""
    copies: dict[Any, Any] = {}

    def copy_result(rope: Any, args: Any, result: Any) -> Any:
        key = args[0].shape[2:], args[0].device
        if key not in copies:
            copies[key] = tuple(each.to(args[0].device) for each in result)
        return copies[key]

    def move_table(rope: Any, args: Any) -> None:
        rope.freqs_cis = [each.to(args[0].device) for each in rope.freqs_cis]

    if type(denoiser).__name__ == "CogView4Transformer2DModel":
        denoiser.rope.register_forward_hook(copy_result)
    elif type(denoiser).__name__ == "Lumina2Transformer2DModel":
        denoiser.rope_embedder.register_forward_pre_hook(move_table)


def text_encoders(pipe: Any) -> list[tuple[str, Any]]:
    """(name, module) of each."""
    return _parts(pipe, "text_encoder")


def tokenizers(pipe: Any) -> list[tuple[str, Any]]:
    """(name, tokenizer) of each. Some pipelines have it inside a processor, which reads pictures, too."""
    from transformers import ProcessorMixin

    parts = _parts(pipe, "tokenizer", "processor")
    return [(name, part.tokenizer if isinstance(part, ProcessorMixin) else part) for name, part in parts]


def _parts(pipe: Any, *kinds: str) -> list[tuple[str, Any]]:
    return [(name, part) for name, part in pipe.components.items() if name.startswith(kinds) and part is not None]


def without_text(pipe: Any) -> Any:
    """A pipeline of the same parts, but without encoders of prompts and pictures, so that these may leave the GPU."""
    text = {name: None for name, _ in (*text_encoders(pipe), *_parts(pipe, "image_encoder"))}
    own = {name: pipe.config[name] for name in inspect.signature(type(pipe)).parameters if name in pipe.config}
    textless = type(pipe)(**own | pipe.components | text)
    textless.set_progress_bar_config(disable=True)
    return textless


# Schedulers


def sampler(folder: Path, name: str | None) -> Sampler:
    """Which scheduler a model is to have, with which options: its own, or the named one, if that can take its place."""
    import diffusers

    file = folder / "scheduler" / "scheduler_config.json"
    own = getattr(diffusers, str(read_field(file, "_class_name")), None)
    if own is None:
        raise Error(f"{file} names a scheduler that diffusers {diffusers.__version__} does not have")
    others = [] if name is None else _stand_ins(own)  # only if one is named: importing them takes half a second
    return chosen(own, others, name)


def scheduler(folder: Path, settings: Settings) -> Any:
    """The scheduler as the model will have it."""
    config = read_json(folder / "scheduler" / "scheduler_config.json")
    if file := find_checkpoint(settings.model):
        config |= checkpoint_scheduler(file)
    with quiet():
        return _make_scheduler(sampler(folder, settings.scheduler), config)


def _stand_ins(own: Any) -> list[Any]:
    """The scheduler classes that can take their schedule of noise from this one."""
    import diffusers

    kinds = [*own._get_compatibles()]
    if diffusers.DDIMScheduler in kinds:
        # diffusers does not list these. They take few steps, with LoRAs that were made for them (its pages 'Latent
        # Consistency Model' and 'Trajectory Consistency Distillation-LoRA').
        kinds += [diffusers.LCMScheduler, diffusers.TCDScheduler]
    # Not those whose libraries are missing, nor the one that draws its noise from no generator of ours.
    return [kind for kind in kinds if not hasattr(kind, "_backends") and kind.__name__ != "DPMSolverSDEScheduler"]


def _make_scheduler(sampler: Sampler, config: Any) -> Any:
    try:
        return sampler.kind.from_config(config, **sampler.options)
    except REFUSALS as error:
        name = sampler.kind.__name__
        raise Error(f"{name} does not fit this model: {reason(error)}; give another --scheduler") from error
