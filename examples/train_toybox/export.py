"""What was trained becomes a pipeline in diffusers' format, as walk loads it.

    python export.py --config cpu_small --data ~/toybox-data --out my-toybox
    walk --model my-toybox --steps 4 --guidance 1 --prompts "a fox in a forest" "a rocket in a forest"

Half-precision safetensors, no pickle, with the licence of what it learned from and the words that it knows.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import data
import denoiser
import scenes
import torch
from config import TOYBOX, Config, arguments
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel


def words(config: Config) -> str:
    """Every word of the captions, in the phrases that they come in; walk warns of all others."""
    known, places = data.things(config), data.backgrounds(config)
    colours = [place for place in places if place in scenes.COLOURS]
    colours += [data.ALIASES[colour] for colour in colours if colour in data.ALIASES]
    parts = {
        "Things": [name for thing in known for name in (*thing.names, *thing.others)],
        "Colours (on a ... background)": sorted(colours),
        "Scenes": [phrase for place in places if place not in scenes.COLOURS for phrase in data.phrases(place)],
        "And": [" ".join(("a an the of on background", *data.KINDS, *data.ADJECTIVES))],
    }
    lines = ["# Every word that the model learned, in the phrases that it met them in."]
    for title, phrases in parts.items():
        lines += [f"# {title}:", *phrases]
    return "\n".join(lines) + "\n"


def export(work: Path, out: Path, config: Config) -> None:
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(work / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(work / "text_encoder"),
        tokenizer=denoiser.tokenizer(),
        unet=UNet2DConditionModel.from_pretrained(work / "student"),
        scheduler=denoiser.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16).save_pretrained(out, safe_serialization=True)
    for path in out.rglob("*.json"):
        plain = json.loads(path.read_text("utf-8"))
        if plain.pop("_name_or_path", None) or path.parent.name == "text_encoder":
            # transformers loads the text encoder in the precision that its file names, whatever the others have.
            plain |= {"dtype": "float32"} if path.parent.name == "text_encoder" else {}
            path.write_text(json.dumps(plain, indent=2) + "\n", "utf-8")
    (out / "words.txt").write_text(words(config), "utf-8")
    shutil.copy(TOYBOX / "LICENSE", out)
    for path in out.rglob("*.safetensors"):
        path.chmod(0o644)


def main() -> None:
    options = arguments(__doc__, out="")
    out = Path(options.out) if options.out else options.work / "model"
    export(options.work, out, options.config)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
