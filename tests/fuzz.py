"""Damages files by the million: whatever reads them reads them right, or refuses them in one line.

    python tests/fuzz.py --mutants 1000000 --seed 0

The originals are the files of the other tests. Some mutants have their checksums made right again,
so that what lies behind them is reached. A mutant that is read must be what it was, or what another
library reads in it (Pillow, tifffile, NumPy), or, where none can, at least plausible. One that
takes more than SECONDS or MOST bytes counts as crashed, and so does one that runs code.
The same seed makes the same mutants, however many processes there are; failures are kept.
"""

import argparse
import copy
import dataclasses
import functools
import hashlib
import io
import json
import logging
import math
import os
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import hostile
import numpy as np
import tifffile
from files import test_image_file, test_png_file, test_tensor_file, test_tiff_file
from PIL import Image
from tqdm import tqdm

from adf import runs
from adf.files import checkpoint
from adf.files.image_file import LUMA, PIXELS, read_image, read_labels
from adf.files.tensor_file import read_tensor
from adf.runs.settings import BEFORE

SECONDS = 10  # of the processor for one mutant, so that a busy machine is no fault
MOST = 64 * 2**20  # bytes more than before it was opened
CEILING = 2**33  # bytes of addresses of a process: the guard of the machine
CHUNK = 200  # mutants of one kind in a row
LENGTHENING = 2**14  # of decoded bytes, compared with stored ones: no compression exceeds it
FINE = ("refused", "as it was", "as another reads it", "plausible")
OUTCOMES = (*FINE, "wrong", "crashed")
# Stand in the place of settings and of what a manifest claims.
ODD = (None, True, False, 0, 1, -1, 0.5, 2**31, 2**63, 10**400, 1e308, -1e308, "", "x" * 9999, [])
ODD += ({}, [1] * 3000, [[[]]], {"a": None}, "adf-unet", "unet-bn", "adf-deeplabv3plus", "flip")


class TooSlow(BaseException):
    """No Exception, so that no reader takes it for damage."""


# Kinds of files, those more often that hold more surprises; settings are slow.
TURNS = ("png", "tiff", "tensor", "checkpoint", "npy", "png", "tiff", "tensor", "checkpoint")
TURNS += ("settings",)
KINDS = tuple(dict.fromkeys(TURNS))


# The originals


@functools.cache
def originals(kind):
    """name -> content of every file that mutants of this kind are made of."""
    match kind:
        case "png":
            small = {n: c for n, (c, _) in test_image_file.READABLE.items() if c[1:4] == b"PNG"}
            every = {
                f"{bits}-{colour}-{i}.png": test_png_file.png(
                    test_png_file.example(bits, colour, (5, 7)), bits, colour, i
                )
                for bits, colour in test_png_file.LAYOUTS
                for i in (0, 1)
            }
            return small | every
        case "tiff":
            small = {n: c for n, (c, _) in test_image_file.READABLE.items() if ".tif" in n}
            tiffs = test_tiff_file.READABLE
            return small | {f"{i}.tif": content for i, (content, _) in enumerate(tiffs.values())}
        case "npy":
            return {n: c for n, (c, _) in test_image_file.READABLE.items() if ".npy" in n}
        case "tensor":
            numbers = np.arange(12, dtype=np.float32).reshape(3, 4)
            good = {f"{z}.pt": hostile.tensor_file(numbers, z) for z in (False, True)}
            return good | {"sing.pt": hostile.legacy(hostile.rebuilt(hostile.SING + b"0"))}
    # A checkpoint is that of a small run, or smaller still.
    with tempfile.TemporaryDirectory() as folder:
        run = runs.Run(folder, runs.Settings(widths=(1, 2)))
        if kind == "settings":
            run.save()
        else:
            arrays = {"a/w": np.arange(6.0).reshape(2, 3), "n": np.array(3), "b": np.ones(3, "?")}
            checkpoint.save(run.path, arrays, {"rate": 0.1, "names": ["a", "b"], "step": None})
        return {"checkpoint.npz": run.path.read_bytes()}


# The mutants


def damaged(kind, content, chance):
    """`content` with damage of this kind: on its surface, or behind checksums that are right."""
    is_deep = chance.random() < 0.7
    if kind == "png" and is_deep:
        return _deep_png(content, chance)
    if kind == "tensor" and is_deep:
        body = chance.choice((test_tensor_file.GOOD, hostile.SING, hostile.rebuilt(hostile.SING)))
        return hostile.tensor_zip(hostile.mutated(body, chance))
    if kind == "settings" or (kind == "checkpoint" and is_deep):
        return _deep_checkpoint(content, chance, kind == "settings")
    # Headers and directories are short, and lie at either end.
    start, stop = chance.choice(((0, None), (0, 200), (-300, None)))
    part = content[start:stop]
    return content.replace(part, hostile.mutated(part, chance), 1)


def _deep_png(content, chance):
    """One of its chunks, or the rows that are packed in it, changed."""
    chunks = []
    place = 8
    while place < len(content):
        (length,) = struct.unpack_from(">I", content, place)
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    chosen = chance.randrange(len(chunks) - 1)
    kind, inside = chunks[chosen]
    if kind == b"IDAT" and chance.random() < 0.8:
        inside = zlib.compress(hostile.mutated(zlib.decompress(inside), chance))
    else:
        inside = hostile.mutated(inside, chance) if inside else b"\0"
    chunks[chosen] = (kind, inside)
    return content[:8] + b"".join(test_png_file.chunk(*chunk) for chunk in chunks)


def _deep_checkpoint(content, chance, settings_only):
    """Its manifest, its settings or an array changed, and all checksums right."""
    members = dict(_unpacked(content))
    manifest = json.loads(members.pop("manifest.json"))
    if settings_only:
        manifest["settings"] = _changed(manifest["settings"], chance)
    elif chance.random() < 0.5:
        manifest = _changed(manifest, chance)
    else:
        name = chance.choice(list(members))
        header, end, numbers = members[name].partition(b"\n")
        if chance.random() < 0.5:
            header = hostile.mutated(header, chance)
        else:
            numbers = hostile.mutated(numbers, chance)
        members[name] = header + end + numbers
        digest = hashlib.sha256(numbers).hexdigest()
        manifest["arrays"][name.removesuffix(".npy")]["sha256"] = digest
    text = json.dumps(manifest).encode()
    seal = hashlib.sha256(text).hexdigest().encode()
    return hostile.zipped({"manifest.json": text} | members, top="", comment=seal)


@functools.lru_cache(2)
def _unpacked(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _changed(tree, chance):
    """What JSON holds, with one to three of its values replaced, left out or added."""
    tree = json.loads(json.dumps(tree))
    for _ in range(chance.randint(1, 3)):
        holder = tree
        # Goes down to a random depth.
        while isinstance(holder, dict | list) and holder:
            key = chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            if not isinstance(holder[key], dict | list) or chance.random() < 0.2:
                break
            holder = holder[key]
        if not holder:
            continue
        match chance.randrange(8):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[chance.choice(("", "more", "x" * 999))] = copy.deepcopy(chance.choice(ODD))
            case 2 if type(holder[key]) in (int, float):
                holder[key] = holder[key] * chance.choice((-1, 2, 1000)) + chance.choice((0, 1))
            case _:
                holder[key] = copy.deepcopy(chance.choice(ODD))
    return tree


# What is read, always as a list of arrays


def read(kind, path, labels):
    match kind:
        case "tensor":
            return [read_tensor(path)]
        case "checkpoint":
            arrays, settings = checkpoint.load(path)
            return [*arrays.values(), _words(settings)]
        case "settings":
            run = runs.load(path.parent)
            about = {"step": run.step, "fingerprint": run.fingerprint}
            return [_words(dataclasses.asdict(run.settings) | about)]
    return [read_labels(path) if labels else read_image(path)]


def _words(settings):
    return np.array(json.dumps(settings, sort_keys=True))


@functools.cache
def expected(kind, name, content, labels):
    """What the original is read as; None where it is refused, too."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        hostile.put(path, content)
        try:
            return read(kind, path, labels)
        except ValueError:
            return None


# What others read in the same file: a list of possible readings, or None where they cannot


def others(kind, content, labels):
    match kind:
        case "png":
            return _pillow(content, labels)
        case "tiff":
            return _tifffile(content, labels)
        case "npy":
            array = np.load(io.BytesIO(content), allow_pickle=False)
            return [[array.reshape(array.shape[-2:]).astype(None if labels else np.float64)]]
        case "checkpoint":
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                names = file.files[1:]
                settings = json.loads(file["manifest.json"])["settings"]
                return [[*(file[name] for name in names), _words(settings)]]
        case "settings":
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                settings = json.loads(file["manifest.json"])["settings"]
            defaults = {field.name: field.default for field in dataclasses.fields(runs.Settings)}
            return [[_words(defaults | BEFORE | {"fingerprint": None} | settings)]]
    return None


def _pillow(content, labels):
    bits, colour = content[24:26]
    picture = Image.open(io.BytesIO(content))
    try:
        stored = np.asarray(picture)
    except (OSError, SyntaxError, ValueError):
        return None
    if bits == 16 and colour != 0:
        return None  # Pillow drops the lower bits
    if colour == 3 and not labels:
        stored = np.asarray(picture.convert("RGB"))
    if colour == 0 and bits in (2, 4):
        stored = stored // (255 // (2**bits - 1))
    if stored.ndim == 3:
        stored = stored[..., :3] @ LUMA if stored.shape[2] > 2 else stored[..., 0]
    return [[stored]]


def _tifffile(content, labels):
    """But for orientation and WhiteIsZero, of which tifffile thinks nothing."""
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            page = file.pages[0]
            stored = page.asarray(squeeze=False, maxworkers=1)[:, 0]
    except Exception:  # it has no codec, or another view of what is damaged
        return None
    channels = [stored[i, ..., j] for i in range(len(stored)) for j in range(stored.shape[-1])]
    if len(channels) > 4 or page.photometric == 5:
        return None
    image = channels[0] if labels else channels[0].astype(np.float64)
    if len(channels) > 2:
        image = np.stack(channels[:3], axis=-1) @ LUMA
    inverted = [] if labels else [-image, -1 - image, 2.0**page.bitspersample - 1 - image]
    turned = [np.rot90(view, k) for v in (image, *inverted) for view in (v, v.T) for k in range(4)]
    return [[view] for view in turned]


# Judgement


def agree(found, other):
    return len(found) == len(other) and all(
        a.shape == b.shape
        and (np.allclose(a, b, 1e-12, 0, True) if a.dtype.kind == "f" else np.array_equal(a, b))
        for a, b in zip(found, other, strict=True)
    )


def plausible(kind, content, found, labels):
    """Whether this can be what such a file holds, as far as that is known without reading it."""
    array = found[0]
    if kind == "tensor":
        return array.nbytes <= len(content)
    is_right = np.isfinite(array).all() if not labels else array.dtype.kind in "iu"
    size = array.size
    return is_right and array.ndim == 2 and 0 < size <= min(PIXELS, LENGTHENING * len(content))


def judged(kind, content, found, original, labels):
    """The outcome of a mutant that was read."""
    if original is not None and agree(found, original):
        return "as it was"
    try:
        readings = others(kind, content, labels)
    except Exception as error:  # whatever another library raises
        return f"wrong: another refuses it, {type(error).__name__}: {error}"
    if readings is None:
        return "plausible" if plausible(kind, content, found, labels) else "wrong: not plausible"
    return "as another reads it" if any(agree(found, r) for r in readings) else "wrong"


class Tally(NamedTuple):
    """What became of mutants of one kind."""

    kind: str
    outcomes: Counter
    peak: int  # bytes more than before
    slowest: float  # seconds of the processor
    failures: list  # (outcome, number, name, content)


def tallied(job):
    """The Tally of one chunk: (kind, seed, number of its first mutant, how many)."""
    kind, seed, first, count = job
    chance = random.Random(f"{seed} {kind} {first}")
    names = originals(kind)
    tally = Tally(kind, Counter(), 0, 0.0, [])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        for number in range(first, first + count):
            name = chance.choice(list(names))
            labels = kind in ("png", "tiff", "npy") and chance.random() < 0.25
            content = damaged(kind, names[name], chance)
            path = Path(folder) / name
            hostile.put(path, content)
            original = expected(kind, name, names[name], labels)
            outcome, peak, seconds = watched(kind, path, content, original, labels)
            tally.outcomes[outcome.partition(":")[0]] += 1
            if outcome not in FINE:
                tally.failures.append((outcome, number, name, content))
            tally = tally._replace(peak=max(tally.peak, peak), slowest=max(tally.slowest, seconds))
    return tally


def guarded():
    """Makes this a process that neither reads for long nor takes the machine's memory."""
    resource.setrlimit(resource.RLIMIT_AS, (CEILING, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.signal(signal.SIGPROF, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to act upon
    logging.disable()  # tifffile's own words on what it reads for comparison


def stop(*_):
    raise TooSlow(f"more than {SECONDS} seconds")


def watched(kind, path, content, original, labels):
    """(outcome, bytes, seconds) of reading one mutant."""
    found = None
    before = _peak(anew=True)
    start = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with hostile.listening() as heard:
            found = read(kind, path, labels)
        outcome = "read"
    except ValueError as error:
        outcome = "refused" if _is_refusal(error, path) else f"crashed: {error!r}"
    except BaseException as error:
        outcome = f"crashed: {error!r}"
        if isinstance(error, KeyboardInterrupt):
            raise
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    seconds = time.process_time() - start
    taken = _peak() - before
    if taken > MOST:
        outcome = f"crashed: it took {taken} bytes"
    elif kind == "tensor" and (heard - test_tensor_file.HARMLESS or hostile.songs):
        outcome = f"crashed: it ran {heard}"
    elif found is not None:
        outcome = judged(kind, content, found, original, labels)
    return outcome, taken, seconds


def _peak(anew=False):
    """The most memory that this process has had; `anew`: from now on.

    Linux starts VmHWM anew, but not ru_maxrss, which also knows what this process was before exec.
    """
    if not os.path.exists("/proc/self/clear_refs"):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024


def _is_refusal(error, path):
    """Whether this is the one line that a user is to see."""
    causes = []
    cause = error
    while cause:
        causes.append(type(cause))
        cause = cause.__cause__ or cause.__context__
    line = str(error)
    is_line = len(line.splitlines()) == 1 and len(line) < 1000 and line.startswith(str(path))
    return type(error) is ValueError and is_line and MemoryError not in causes


@contextmanager
def _until_interrupted(pool):
    """What was done is told, also where it was not all: for SIGINT, Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)


def fuzz(mutants, seed, processes):
    """kind -> Tally of all its mutants, or of those until it is interrupted."""
    jobs = [
        (TURNS[first // CHUNK % len(TURNS)], seed, first, min(CHUNK, mutants - first))
        for first in range(0, mutants, CHUNK)
    ]
    total = {kind: Tally(kind, Counter(), 0, 0.0, []) for kind in KINDS}
    pool = ProcessPoolExecutor(processes, initializer=guarded)
    with pool, tqdm(total=mutants, unit=" mutants") as bar, _until_interrupted(pool):
        for job, tally in zip(jobs, pool.map(tallied, jobs), strict=True):
            kind, outcomes, peak, slowest, failures = total[tally.kind]
            total[kind] = Tally(
                kind,
                outcomes + tally.outcomes,
                max(peak, tally.peak),
                max(slowest, tally.slowest),
                failures + tally.failures,
            )
            bar.update(job[-1])
    return total


def told(total, seed):
    """Prints the table, keeps the failures. Returns how many there are."""
    print("kind", "mutants", *OUTCOMES, "peak MiB", "slowest ms", sep="\t")
    for kind, outcomes, peak, slowest, _ in total.values():
        counts = [outcomes[outcome] for outcome in OUTCOMES]
        memory = math.ceil(peak / 2**20)
        print(kind, outcomes.total(), *counts, memory, f"{1000 * slowest:.0f}", sep="\t")
    failures = [failure for tally in total.values() for failure in tally.failures]
    for outcome, number, name, content in failures[:100]:
        path = Path(tempfile.gettempdir()) / f"mutant-{seed}-{number}-{name}"
        path.write_bytes(content)
        print(f"{path}: {outcome[:300]}")
    return len(failures)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args(arguments)
    return 1 if told(fuzz(args.mutants, args.seed, args.processes), args.seed) else 0


if __name__ == "__main__":
    sys.exit(main())
