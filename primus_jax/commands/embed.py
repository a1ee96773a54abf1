"""Run frozen CLIP encoders once over a dataset folder: frames and sentences -> embeddings.

primus-jax embed data/ego4d --towers clip-vit-base-patch32 --out data/ego4d_clip

The towers (text and image encoder) are a folder in Hugging Face's layout (config.json,
model.safetensors). The new folder has the same windows, shards and order, and float16 embeddings
instead of frames. `primus-jax pretrain` reads the new folder. After a stop the same command resumes
(OUT.partial). All devices are used.
"""

import argparse
import time
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", type=Path, metavar="DIR", help="dataset folder")
    parser.add_argument(
        "--towers", type=Path, required=True, metavar="FOLDER", help="has config.json and weights"
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument(
        "--only",
        choices=("text", "video"),
        help="embed only text or only video (default: both, if stored)",
    )
    parser.add_argument(
        "--tokenizer",
        help="for datasets without token ids; the new folder then stores them: "
        "bpe_simple_vocab_16e6.txt.gz, a folder with vocab.json and merges.txt, or a Hugging Face "
        "name",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="dtype of the computation (default float32); embeddings are float16 either way",
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=256,
        help="sentences or frames at a time, on all devices together (default 256)",
    )
    parser.add_argument("--devices", type=int, default=0, help="number of devices (default all)")
    parser.add_argument("--keep-frames", action="store_true", help="store the frames again")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")
    parser.add_argument(
        "--overwrite-embeddings",
        action="store_true",
        help="replace embeddings that DIR has already",
    )


def run(args: argparse.Namespace) -> int:
    """Write the new dataset folder and describe it."""
    from data_prep.embed.dataset import embed_dataset
    from data_prep.embed.plan import EmbedOptions
    from primus_jax.models.clip.tokenizer import load_tokenizer
    from primus_jax.models.clip.towers import load_towers
    from primus_jax.reports.dataset import describe_dataset

    started = time.monotonic()
    folder = embed_dataset(
        args.data,
        load_towers(args.towers),
        args.out,
        EmbedOptions(
            kinds=(args.only,) if args.only else (),
            tokenizer=load_tokenizer(args.tokenizer) if args.tokenizer else None,
            dtype=args.dtype,
            batch=args.batch,
            devices=args.devices,
            keep_frames=args.keep_frames,
            replace=args.overwrite_embeddings,
        ),
        overwrite=args.overwrite,
        log=lambda line: print(line, flush=True),
    )
    print(describe_dataset(folder, activities=False))
    print(f"done in {time.monotonic() - started:.1f} s")
    return 0
