"""Which cheap distance between two frames of a film agrees best with what the eye sees change?

    pip install flip-evaluator scipy         (and, for a second reference, cvvdp)
    python tests/benchmarks/distances.py a.walk/frames b.walk/frames ... [--enlarge 2]

The references are models of sight, too slow or too heavy to be used in `walk` itself:
  flip   P. Andersson et al., 'FLIP: a difference evaluator for alternating images', HPG 2020.
  cvvdp  R. K. Mantiuk et al., 'ColorVideoVDP', SIGGRAPH 2024: the first picture standing still
         against the first picture followed by the second, six frames at 24 a second. (Of two
         stills it sees no change of brightness at all, so it must be shown a film.)
Either one suffices. Both see the frames enlarged by Lanczos, 7.6 degrees wide: 512 pixels at FLIP's
own 67 pixels a degree. Made of 128 pixels, 256 hold all there is, and FLIP says the same to 0.5 %.

Pairs are 1, 2 and 4 frames apart. For each candidate and reference: the rank correlation of
neighbours within a film and of all its pairs (medians of the films), and of all pairs of all films;
`spread`, the standard deviation of log(candidate / reference) over a film's neighbours: how uneven
equal steps of the one are for the other; `made`, the same on pairs made by hand. Then d(a, c) /
(d(a, b) + d(b, c)) of frames one apart (median, 10th and 90th percentile); what a noise of one level
makes of a median step; the time of a pair, its features included. Last, a quarter of each film's
frames are chosen at even distances (fewer where a single step is longer than that), and
the first reference says how much longer the largest step is than the median. A pair takes FLIP
0.1 s and CVVDP 0.6 s: a quarter of an hour for seven films.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

Picture = np.ndarray  # (h, w, 3), uint8
Candidate = tuple[Callable[[Picture], Any], Callable[[Any, Any], float]]  # features, and their distance
DEGREES = 512 / 67  # the width of a picture to the eye

# --- colour spaces ---

_LEVELS = np.arange(256) / 255
LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
# B. Ottosson, 'A perceptual color space for image processing', 2020: linear sRGB to cones, their cube roots to Lab.
M1 = np.array(
    [[0.4122214708, 0.2119034982, 0.0883024619], [0.5363325363, 0.6806995451, 0.2817188376], [0.0514459929, 0.1073969566, 0.6299787005]],
    np.float32,
)  # fmt: skip
M2 = np.array(
    [[0.2104542553, 1.9779984951, 0.0259040371], [0.7936177850, -2.4285922050, 0.7827717662], [-0.0040720468, 0.4505937099, -0.8086757660]],
    np.float32,
)  # fmt: skip
# IEC 61966-2-1: linear sRGB to XYZ, of white 1.
XYZ = np.array([[0.4339, 0.2126, 0.0177], [0.3762, 0.7152, 0.1095], [0.1898, 0.0722, 0.8728]], np.float32)


def srgb(picture: Picture) -> np.ndarray:
    return picture.astype(np.float32) / 255


def oklab(picture: Picture) -> np.ndarray:
    return np.cbrt(LINEAR[picture] @ M1) @ M2


def cielab(picture: Picture) -> np.ndarray:
    """CIE 1976 L*a*b*, a hundredth of it."""
    t = LINEAR[picture] @ XYZ
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([1.16 * y - 0.16, 5 * (x - y), 2 * (y - z)], axis=-1)


def grey(picture: Picture) -> np.ndarray:
    return srgb(picture) @ np.array([0.299, 0.587, 0.114], np.float32)


# --- one half of the distance that was chosen; the other is the root mean square ---

CONTRAST = 0.1  # of OKLab: where a detail's contrast begins to saturate


def features(picture: Picture) -> np.ndarray:
    """What the eye takes from a picture (h, w, 3; uint8): rows (n, 3), whose `distance` is what it sees change.

    A normalised Laplacian pyramid (V. Laparra, J. Ballé, A. Berardino, E. P. Simoncelli, 'Perceptual
    image quality assessment using a normalized Laplacian pyramid', 2016) of OKLab (Ottosson 2020):
    on every scale z is what 2x2 means f leave out of x, y is z adapted to the contrast around it,
    and rows are weighted so that each scale counts by its mean. The last scale is f itself.
    """
    x, rows = oklab(picture), []
    while min(x.shape[:2]) >= 16:
        f = halved(x)
        z = x[: 2 * f.shape[0], : 2 * f.shape[1]] - doubled(f)
        contrast = np.sqrt(halved((z * z).sum(axis=-1, keepdims=True)))
        y = z / (1 + doubled(contrast) / CONTRAST)
        rows.append(3 / y.size * y.reshape(-1, 3))
        x = f
    return np.concatenate([*rows, 3 / x.size * x.reshape(-1, 3)])


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Between the features of two pictures: each scale's mean colour difference, summed. A metric."""
    return float(np.linalg.norm(a - b, axis=1).sum())


def halved(x: np.ndarray) -> np.ndarray:
    """The means of 2x2 pixels; an odd last row or column is left out."""
    h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    return (x[:h:2, :w:2] + x[1:h:2, :w:2] + x[:h:2, 1:w:2] + x[1:h:2, 1:w:2]) / 4


def doubled(x: np.ndarray) -> np.ndarray:
    return x.repeat(2, axis=0).repeat(2, axis=1)


# --- the other candidates ---


def root_mean_square(d: np.ndarray) -> float:
    return float(np.sqrt((d * d).sum(axis=-1).mean()))


def mean(d: np.ndarray) -> float:
    return float(np.sqrt((d * d).sum(axis=-1)).mean())


def hyab(d: np.ndarray) -> float:
    """Abasi, Tehran, Fairchild, 'Distance metrics for very large color differences', 2019 (FLIP's)."""
    return float((np.abs(d[..., 0]) + np.sqrt((d[..., 1:] ** 2).sum(axis=-1))).mean())


def scales(space: Callable[[Picture], np.ndarray], pool: Callable[[np.ndarray], float], count: int) -> Candidate:
    """`pool` of the differences in `space`, at full size, a half, a quarter ... (`count` of them), averaged."""

    def pyramid(picture: Picture) -> list[np.ndarray]:
        levels = [space(picture)]
        while len(levels) < count:
            levels.append(halved(levels[-1]))
        return levels

    return pyramid, lambda a, b: sum(pool(x - y) for x, y in zip(a, b)) / count


def similarity(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """SSIM and its contrast-structure part (Wang, Bovik, Sheikh, Simoncelli 2004)."""
    blur = lambda x: gaussian_filter(x, 1.5, truncate=3.5)  # noqa: E731
    mu_x, mu_y, c1, c2 = blur(x), blur(y), 0.01**2, 0.03**2
    var_x, var_y, cov = blur(x * x) - mu_x**2, blur(y * y) - mu_y**2, blur(x * y) - mu_x * mu_y
    cs = (2 * cov + c2) / (var_x + var_y + c2)
    return float(((2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1) * cs).mean()), float(cs.mean())


def dissimilarity(x: np.ndarray, y: np.ndarray) -> float:
    return max(0.0, 1 - similarity(x, y)[0])


def multiscale_dissimilarity(x: np.ndarray, y: np.ndarray) -> float:
    """1 - MS-SSIM (Wang, Simoncelli, Bovik 2003)."""
    product = 1.0
    for weight in (0.0448, 0.2856, 0.3001, 0.2363):
        product *= max(similarity(x, y)[1], 1e-6) ** weight
        x, y = halved(x), halved(y)
    return max(0.0, 1 - product * max(similarity(x, y)[0], 1e-6) ** 0.1333)


def rooted(f: Callable[[Any, Any], float]) -> Callable[[Any, Any], float]:
    return lambda a, b: f(a, b) ** 0.5


def added(first: Candidate, second: Candidate, k: float) -> Candidate:
    return lambda p: (first[0](p), second[0](p)), lambda a, b: first[1](a[0], b[0]) + k * second[1](a[1], b[1])


CANDIDATES: dict[str, Candidate] = {
    "srgb rms": scales(srgb, root_mean_square, 1),
    "srgb mean": scales(srgb, mean, 1),
    "cielab rms": scales(cielab, root_mean_square, 1),
    "cielab mean": scales(cielab, mean, 1),
    "cielab hyab": scales(cielab, hyab, 1),
    "oklab rms": scales(oklab, root_mean_square, 1),
    "oklab mean": scales(oklab, mean, 1),
    "srgb rms, 4 scales": scales(srgb, root_mean_square, 4),
    "cielab mean, 4 scales": scales(cielab, mean, 4),
    "oklab rms, 4 scales": scales(oklab, root_mean_square, 4),
    "oklab mean, 4 scales": scales(oklab, mean, 4),
    "1-ssim": (grey, dissimilarity),  # DSSIM is half of it
    "sqrt(1-ssim)": (grey, rooted(dissimilarity)),
    "sqrt(1-ms-ssim)": (grey, rooted(multiscale_dissimilarity)),
    "oklab 4 + sqrt(1-ssim)/10": added(scales(oklab, mean, 4), (grey, rooted(dissimilarity)), 0.1),
    "normalised pyramid": (features, distance),
    "pyramid + srgb rms": added((features, distance), scales(srgb, root_mean_square, 1), 3**-0.5),  # walk.eye's
}

# --- the references ---


def flip() -> Callable[[Picture, Picture], float]:
    from flip_evaluator import evaluate

    def compare(a: Picture, b: Picture) -> float:
        sight = {"ppd": a.shape[1] / DEGREES}
        return float(evaluate(srgb(a), srgb(b), "LDR", applyMagma=False, parameters=sight)[1])

    return compare


def cvvdp() -> Callable[[Picture, Picture], float]:
    import pycvvdp
    import torch

    @cache
    def metric(height: int, width: int) -> Any:
        geometry = pycvvdp.vvdp_display_geometry([width, height], ppd=width / DEGREES)
        cpu = torch.device("cpu")
        return pycvvdp.cvvdp(display_name="standard_4k", display_geometry=geometry, device=cpu, quiet=True)

    @torch.no_grad()
    def compare(a: Picture, b: Picture) -> float:
        test, still = np.stack([a] + 5 * [b]), np.stack(6 * [a])
        quality, _ = metric(*a.shape[:2]).predict(test, still, dim_order="FHWC", frames_per_second=24)
        return 10 - float(quality)  # just-objectionable differences

    return compare


def references() -> dict[str, Callable[[Picture, Picture], float]]:
    found = {}
    for reference in (flip, cvvdp):
        try:
            found[reference.__name__] = reference()
        except ImportError as error:
            print(f"without {reference.__name__}: {error}", file=sys.stderr)
    if not found:
        sys.exit("no reference to compare with: pip install flip-evaluator")
    return found


# --- pictures ---


def load(folder: Path) -> list[Picture]:
    files = sorted(folder.glob("*.png"))
    if len(files) < 9:
        sys.exit(f"{folder}: {len(files)} frames; at least 9 PNG files are needed")
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]


def enlarged(picture: Picture, factor: int) -> Picture:
    image = Image.fromarray(picture)
    return np.asarray(image.resize((factor * image.width, factor * image.height), Image.Resampling.LANCZOS))


def neighbours(count: int) -> list[tuple[int, int]]:
    """1, 2 and 4 frames apart, each end to end; the first count - 1 are the neighbours proper."""
    return [(i, i + apart) for apart in (1, 2, 4) for i in range(0, count - apart, apart)]


def made(picture: Picture) -> Iterator[tuple[Picture, Picture]]:
    """Pairs whose changes are known: a thing moves, light, background, noise, blur; each in four strengths."""
    h, w = picture.shape[:2]
    y, x = np.mgrid[:h, :w]
    thing = lambda at: ((x - at) ** 2 + (y - h / 2) ** 2 < (h / 10) ** 2)[..., None]  # noqa: E731
    inside = ((x - w / 2) ** 2 + (y - h / 2) ** 2 < (h / 3) ** 2)[..., None]
    noise = np.random.default_rng(0).standard_normal(picture.shape)
    for k in (1, 2, 4, 8):
        yield tuple(np.where(thing(at), np.uint8([230, 60, 40]), picture) for at in (w / 2, w / 2 + k))
        yield picture, shifted(picture, 4 * k)
        yield picture, np.where(inside, picture, shifted(picture, np.array([4 * k, 0, -4 * k])))
        yield picture, shifted(picture, 2 * k * noise)
        yield picture, np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(k / 3)))


def shifted(picture: Picture, by: Any) -> Picture:
    return np.clip(np.rint(picture + by), 0, 255).astype(np.uint8)


# --- what is measured ---


def agreement(own: list[np.ndarray], theirs: list[np.ndarray], counts: list[int]) -> dict[str, float]:
    """Of a candidate with a reference: film by film their distances of the pairs, first of `counts` neighbours."""
    near = [(d[:n], r[:n]) for d, r, n in zip(own, theirs, counts)]
    ratios = [np.log(d[(d > 0) & (r > 0)] / r[(d > 0) & (r > 0)]) for d, r in near]
    return {
        "near": float(np.median([spearmanr(d, r)[0] for d, r in near])),
        "film": float(np.median([spearmanr(d, r)[0] for d, r in zip(own, theirs)])),
        "all": float(spearmanr(np.concatenate(own), np.concatenate(theirs))[0]),
        "spread": float(np.median([ratio.std() for ratio in ratios])),
    }


def additivity(candidate: Candidate, films: list[list[Picture]]) -> list[float]:
    ratios: list[float] = []
    for film in films:
        seen = [candidate[0](picture) for picture in film]
        near = np.array([candidate[1](a, b) for a, b in pairwise(seen)])
        far = np.array([candidate[1](a, b) for a, b in zip(seen, seen[2:])])
        way = near[:-1] + near[1:]
        ratios.extend(far[way > 1e-4 * way.max()] / way[way > 1e-4 * way.max()])
    return [float(value) for value in np.percentile(ratios, [50, 10, 90])]


def noise(candidate: Candidate, films: list[list[Picture]]) -> float:
    """The distance that a level of noise makes, in median steps between neighbours."""
    rng, shares, (seen, apart) = np.random.default_rng(0), [], candidate
    for film in films:
        step = np.median([apart(seen(a), seen(b)) for a, b in pairwise(film)])
        some = film[:: len(film) // 8]
        shares.append(np.mean([apart(seen(p), seen(shifted(p, rng.integers(-1, 2, p.shape)))) for p in some]) / step)
    return float(np.median(shares))


def milliseconds(candidate: Candidate, a: Picture, b: Picture) -> float:
    times = []
    for _ in range(7):
        begun = time.perf_counter()
        candidate[1](candidate[0](a), candidate[0](b))
        times.append(time.perf_counter() - begun)
    return 1000 * min(times)


def chosen(near: np.ndarray, count: int) -> list[int]:
    """`count` frames, the first and the last among them, nearest to even distances."""
    way = np.concatenate([[0], np.cumsum(near)])
    return sorted({int(np.abs(way - at).argmin()) for at in np.linspace(0, way[-1], count)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="of frames, one film each, in order of their names")
    parser.add_argument("--enlarge", type=int, default=2, help="what the references see (2)")
    options = parser.parse_args()
    films, judges = [load(folder) for folder in options.folders], references()
    names = [folder.parent.stem if folder.name == "frames" else folder.name for folder in options.folders]
    pairs, counts = [neighbours(len(film)) for film in films], [len(film) - 1 for film in films]

    # 1. What the references say; each pair is looked at once.
    @cache
    def seen(number: int, frame: int) -> Picture:
        return enlarged(films[number][frame], options.enlarge)

    @cache
    def judged(judge: str, number: int, i: int, j: int) -> float:
        return judges[judge](seen(number, i), seen(number, j))

    said: dict[str, list[np.ndarray]] = {judge: [] for judge in judges}
    for number, name in enumerate(names):
        for judge in judges:
            print(f"{judge}: {name}, {len(pairs[number])} pairs", file=sys.stderr)
            said[judge].append(np.array([judged(judge, number, i, j) for i, j in pairs[number]]))
    hand = [pair for film in films for pair in made(film[0])]
    said_hand = {j: [judges[j](*(enlarged(p, options.enlarge) for p in pair)) for pair in hand] for j in judges}

    # 2. What the candidates say, and how well that goes together; a reference's own row shows what can be reached.
    big = [np.asarray(Image.fromarray(picture).resize((512, 512))) for picture in films[0][:2]]
    small = [np.asarray(Image.fromarray(picture).resize((128, 128))) for picture in films[0][:2]]
    figures: dict[str, dict[str, Any]] = {}
    for label, candidate in CANDIDATES.items():
        print(label, file=sys.stderr)
        look, apart = candidate
        own = []
        for film, chosen_pairs in zip(films, pairs):
            looks = [look(picture) for picture in film]
            own.append(np.array([apart(looks[i], looks[j]) for i, j in chosen_pairs]))
        own_hand = [apart(look(a), look(b)) for a, b in hand]
        row: dict[str, Any] = {judge: agreement(own, said[judge], counts) for judge in judges}
        for judge in judges:
            row[judge]["made"] = float(spearmanr(own_hand, said_hand[judge])[0])
        row |= {"additivity": additivity(candidate, films), "noise": noise(candidate, films)}
        row["ms"] = [milliseconds(candidate, *small), milliseconds(candidate, *big)]
        figures[label] = row | {"near": [d[:n] for d, n in zip(own, counts)]}
    figures |= {f"({judge})": {"near": [d[:n] for d, n in zip(said[judge], counts)]} for judge in judges}
    figures["(every fourth)"] = {"near": [np.ones(n) for n in counts]}

    # 3. Frames chosen at even distances: the largest step over the median, as the first reference sees it.
    judge = next(iter(judges))
    for label, row in figures.items():
        print(f"{label}: outcome", file=sys.stderr)
        row["outcome"] = []
        for number, near in enumerate(row.pop("near")):
            steps = [judged(judge, number, i, j) for i, j in pairwise(chosen(near, len(near) // 4 + 1))]
            row["outcome"].append(float(np.max(steps) / np.median(steps)))

    show(figures, names, list(judges))
    result = json.dumps({"pairs": sum(map(len, pairs)), "films": names, "figures": figures})
    print(json.dumps(json.loads(result, parse_float=lambda digits: round(float(digits), 3))))


def show(figures: dict[str, dict[str, Any]], names: list[str], judges: list[str]) -> None:
    kinds = ("near", "film", "all", "made", "spread")
    heads = [f"{judge + ':':7}" + "".join(f"{kind:>7}" for kind in kinds) for judge in judges]
    print(f"{'':26}" + "  ".join(heads) + "   d(a,c)/sum       noise   ms at 128, 512")
    for label, row in figures.items():
        if "ms" not in row:
            continue
        cells = ["       " + "".join(f"{row[judge][kind]:7.3f}" for kind in kinds) for judge in judges]
        middle, low, high = row["additivity"]
        numbers = f"   {middle:.2f} ({low:.2f}-{high:.2f})  {row['noise']:5.2f}  "
        print(f"{label:26}" + "  ".join(cells) + numbers + "".join(f"{ms:7.1f}" for ms in row["ms"]))
    print(f"\nlargest / median step by {judges[0]} of a quarter of the frames, chosen at even distances; each film")
    print(f"{'':26}median " + "".join(f"{name[:14]:>15}" for name in names))
    for label, row in figures.items():
        ratios = row["outcome"]
        print(f"{label:26}{np.median(ratios):6.2f} " + "".join(f"{ratio:15.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
