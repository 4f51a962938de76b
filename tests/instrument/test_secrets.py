"""A run folder holds no secret: nothing of the environment, of the user's home, of tensors, of texts of exceptions."""

from __future__ import annotations

import os
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from tcrules.instrument import attach, open_run
from tcrules.instrument.manifest import create_run
from tcrules.instrument.privacy import blame, redact, scrub, shown_path

SCRIPT = """
import os, sys
from pathlib import Path
import torch, tcrules
from torch import nn
from torch.utils.data import DataLoader, Sampler, StackDataset

class Order(Sampler):
    @property
    def shuffle(self):
        raise RuntimeError("planted-exception " + os.environ["PLAIN"])
    def __iter__(self):
        return iter(range(8))
    def __len__(self):
        return 8

class Key:
    def __str__(self):
        return "planted-key"
    __repr__ = __str__

torch.manual_seed(0)
data = torch.randn(8, 4)
data[1, 2], data[2, 2], data[3, 2] = 7316.25341796875, 9e6, -9e6  # no extreme, which is a statistic
text = torch.frombuffer(bytearray(b"planted-tensor-bytes-planted-ten" * 8), dtype=torch.uint8).reshape(8, -1)
labels = torch.arange(7316253412, 7316253420)
model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
with torch.no_grad():
    model[0].weight[1, 1] = 7316.25341796875
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
home = Path.home()
hf_token, plain, folder = "planted-frame", os.environ["PLAIN"], str(home / "images")
args = {"lr": 0.5, "wandb": {"api_key": "planted-key", "project": os.environ["PLAIN"]}, "out": folder}
for sampler in (None, Order()):
    for batch in DataLoader(StackDataset(x=data, text=text, y=labels), batch_size=4, sampler=sampler):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(batch["x"]), batch["x"]).backward()
        optimizer.step()
        torch.save({"model": model.state_dict(), Key(): batch}, home / "kept" / "model.pt")
        torch.load(str(home / "kept" / "model.pt"), weights_only=False)
for _ in DataLoader(data, batch_size=4, collate_fn=lambda rows: {Key(): torch.stack(rows)}):
    pass
tcrules.emit("mine", value=float(model[0].bias[0]))
tcrules.emit("wrong", value=os.environ)
print(len(sys.argv))
"""

ARGUMENTS = [
    "--api-key=planted-1", "--token", "planted-2", "password=planted-3", "--db.password", "planted-4",
    "--hfToken", "planted-5", "--url", "https://me:planted-6@host/x?sig=planted-7&n=1",
    "--config", '{"api_key": "planted-8", "lr": 0.1}', "--header", "Authorization: Bearer planted-9",
    "hf_planted10planted10planted10", "--note", "uses planted-environment here",
    "--lr", "0.125", "--tokens", "512", "--use-auth-token", "--steps", "3",
]  # fmt: skip


def run_script(folder: Path) -> tuple[Path, Path]:
    """Train in a process below a planted home; returns the unsealed run and the script."""
    home = folder / "planted-home"
    (home / "kept").mkdir(parents=True)
    script = home / "train.py"
    script.write_text(SCRIPT)
    run = folder / "run"
    command = [sys.executable, str(script), f"--data={home}/images", *ARGUMENTS]
    variables = attach.environment(run)
    variables |= {"HOME": str(home), "PLAIN": "planted-plain", "DEPLOY_TOKEN": "planted-environment"}
    before = dict(os.environ)
    os.environ.update(HOME=variables["HOME"], DEPLOY_TOKEN=variables["DEPLOY_TOKEN"])
    try:
        create_run(run, command)
    finally:
        os.environ.clear()
        os.environ.update(before)
    subprocess.run(command, env=variables, check=True, stdout=subprocess.DEVNULL)
    return run, script


def leaks(data: bytes) -> list[str]:
    """Return what is planted and found; tensors hold one number in the middle of others and one text."""
    number = 7316.25341796875
    encoded = [
        struct.pack("<f", number),
        struct.pack("<d", number),
        b"7316.25",
        struct.pack("<q", 7316253417),
    ]
    found = [word for word in encoded if word in data]
    return [str(word) for word in found] + [str(data[at - 60 : at + 60]) for at in _places(data, b"planted")]


def _places(data: bytes, word: bytes) -> list[int]:
    return [at for at in range(len(data)) if data.startswith(word, at)] if word in data else []


def test_no_secret_is_recorded(tmp_path: Path):
    run, script = run_script(tmp_path)
    files = [path for path in run.rglob("*") if path.is_file()]
    assert {"run.json", "meta.json", "strings.bin", "batch.rows", "instrument_gap.rows"} <= {
        f.name for f in files
    }
    for path in files:  # where a call was made is the one place that names the script
        assert leaks(path.read_bytes().replace(str(script).encode(), b"")) == [], path.name
    folder = open_run(run)
    text = (run / "run.json").read_text()
    tables = {}
    with duckdb.connect() as connection:
        for relation, path in folder.relations().items():
            rows = connection.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
            tables[relation] = rows
            columns = [d[0] for d in connection.description or ()]
            shown = [
                tuple(v for c, v in zip(columns, row, strict=True) if (relation, c) != ("location", "file"))
                for row in rows
            ]
            text += f"{relation} {shown}\n"
    assert leaks(text.encode()) == []
    # what is no secret is there, and what failed is a gap
    settings = {key: value for _, _, key, value, source, *_ in tables["config"] if source == "argv"}
    assert settings["lr"] == "0.125" and settings["tokens"] == "512" and settings["steps"] == "3"
    assert settings["data"] == "~/images"
    settings = {key: value for _, _, key, value, source, *_ in tables["config"] if source == "frame"}
    assert settings["lr"] == "0.5" and settings["folder"] == settings["out"] == "~/images"
    assert not {"hf_token", "plain", "wandb.api_key", "wandb.project"} & set(settings)
    assert {row[3] for row in tables["checkpoint_saved"]} == {"~/kept/model.pt"}
    reasons = {row[2]: row[-1] for row in tables["instrument_gap"]}
    assert reasons["batch"].startswith("probe data failed: RuntimeError at data.py:")
    assert reasons["wrong"].startswith("tcrules.emit: ")


@pytest.mark.parametrize(
    ("words", "clean"),
    [
        (["--pass", "x", "y"], ["--pass", "…", "y"]),
        (["--compass", "x"], ["--compass", "x"]),
        (["--apiKey", "x"], ["--apiKey", "…"]),
        (["-e", "WANDB_API_KEY=x"], ["-e", "WANDB_API_KEY=…"]),
        (["--use-auth-token", "--lr", "1"], ["--use-auth-token", "--lr", "1"]),
        (["--tokenizer=gpt2", "--author", "me"], ["--tokenizer=gpt2", "--author", "me"]),
        (["--path=a?token=x&b=1"], ["--path=a?token=…&b=1"]),
        (["s3://id:x@bucket/a"], ["s3://…@bucket/a"]),
        (["me@host:~/a"], ["me@host:~/a"]),
        ([None, 3], ["NoneType", "int"]),
    ],
)  # fmt: skip
def test_command_lines(words: list[object], clean: list[str]):
    assert redact(words) == clean
    assert redact(clean) == clean, "once is enough"
    shlex.join(redact(words))


def test_long_words_take_no_time():
    for word in ("a" * 200_000, "token" * 40_000, "token=" * 30_000, "a." * 100_000, "x://" * 50_000):
        scrub(word)


def test_paths_of_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    (tmp_path / "me").mkdir()
    home = str(tmp_path / "me")
    assert shown_path(Path(home) / "a.pt") == "~/a.pt" and shown_path(home) == "~"
    assert shown_path(home + "2/a.pt") == home + "2/a.pt"
    assert shown_path(f"/mnt{home}/a") == f"/mnt{home}/a"
    assert shown_path(os.fsencode(home) + b"/\xff.pt") == "~/\udcff.pt"
    with (tmp_path / "me" / "a.pt").open("wb") as file:
        assert shown_path(file) == "~/a.pt"
    assert shown_path(object()) == shown_path(3) == ""
    monkeypatch.setenv("HOME", "/")
    assert shown_path("/a/b") == "/a/b"


def test_a_fault_is_told_without_its_text():
    class Hostile(Exception):
        def __str__(self) -> str:
            raise RuntimeError("planted")

        __repr__ = __str__

    assert blame(Hostile("planted")) == "Hostile"
    try:
        shown_path(type("Named", (), {"name": property(lambda self: 1 / 0)})())
    except ZeroDivisionError as fault:
        assert blame(fault).startswith("ZeroDivisionError at privacy.py:")
