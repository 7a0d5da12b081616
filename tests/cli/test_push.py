"""`bertft push`, against a Hub on loopback: what arrives is the bundle, private, once, and never with a secret."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_hub
import pytest
from cli.conftest import Run
from fake_hub import TOKEN, Hub, Repository

NAME = "me/my-ner"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that this process takes for the real one, and a token for it."""
    from huggingface_hub import constants

    with fake_hub.serving() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/none")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield served


@pytest.fixture
def bundle(model: Path, tmp_path: Path) -> Path:
    """A trained tagger, to be changed."""
    return Path(shutil.copytree(model, tmp_path / "model"))


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def arrived(hub: Hub, name: str = NAME) -> dict[str, bytes]:
    return {path: content for path, content in hub.repositories[name].files.items() if path != ".gitattributes"}


# -- what arrives ------------------------------------------------------------------------------------------------------


def test_the_bundle_arrives_byte_for_byte_in_one_private_commit(cli: Run, hub: Hub, model: Path) -> None:
    ran = cli("push", model, NAME, "--message", "first")
    assert ran.code == 0, ran.err
    assert arrived(hub) == files(model)
    assert hub.repositories[NAME].private
    assert hub.repositories[NAME].commits == ["initial commit", "first"]
    result = json.loads(ran.out)
    assert result["private"] is True
    assert result["url"] == f"{hub.url}/{NAME}"
    assert result["commit"] == hub.repositories[NAME].sha
    assert result["files"] == {name: len(content) for name, content in files(model).items()}
    assert TOKEN not in ran.out + ran.err


def test_public_is_asked_for(cli: Run, hub: Hub, model: Path) -> None:
    assert cli("push", model, NAME, "--public", "-q").err.count("warning:") <= 1
    assert not hub.repositories[NAME].private


def test_the_same_model_again_is_no_commit(cli: Run, hub: Hub, bundle: Path) -> None:
    cli("push", bundle, NAME)
    again = cli("push", bundle, NAME)
    assert (again.code, json.loads(again.out)["commit"]) == (0, None)
    assert "nothing changed" in again.err
    assert len(hub.repositories[NAME].commits) == 2
    (bundle / "README.md").write_text((bundle / "README.md").read_text() + "\nMore.\n")
    assert json.loads(cli("push", bundle, NAME).out)["commit"]
    assert len(hub.repositories[NAME].commits) == 3


def test_parts_that_the_model_has_no_more_are_removed_and_others_stay(cli: Run, hub: Hub, model: Path) -> None:
    old = {"onnx/model.onnx": b"of other weights", "bertft_head.safetensors": b"x", "picture.png": b"x"}
    hub.repositories[NAME] = Repository(True, {**old})
    ran = cli("push", model, NAME)
    assert json.loads(ran.out)["deleted"] == ["bertft_head.safetensors", "onnx/model.onnx"]
    assert arrived(hub) == {**files(model), "picture.png": b"x"}


def test_what_is_no_part_of_the_model_stays_here_and_is_named(cli: Run, hub: Hub, bundle: Path, tmp_path: Path) -> None:
    whole = files(bundle)
    more = {
        ".env": "may hold secrets",
        "server.pem": "may hold secrets",
        "training_args.bin": "a pickle",
        "optimizer.pt": "of training",
        "notes.txt": "no part of the model",
        "checkpoint-7/model.safetensors": "of training",
        "onnx/int8-openvino-2026.4.1.blob": "compiled for this machine",
    }
    for name in more:
        (bundle / name).parent.mkdir(exist_ok=True)
        (bundle / name).write_text("HF_TOKEN=x")
    (tmp_path / "passwords").write_text("root")
    (bundle / "vocab.txt").symlink_to(tmp_path / "passwords")
    ran = cli("push", bundle, NAME)
    assert arrived(hub) == whole
    left = json.loads(ran.out)["left_out"]
    for name, why in {**more, "vocab.txt": "a link"}.items():
        name = name.replace("checkpoint-7/model.safetensors", "checkpoint-7/")
        assert left[name].startswith(why), name
        assert f"{name}: {why}" in ran.err


def test_a_dry_run_asks_nothing_and_shows_everything(
    cli: Run, hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    ran = cli("push", model, NAME, "--dry-run")
    assert ran.code == 0, ran.err
    assert hub.requests == []
    assert [*json.loads(ran.out)["files"]] == sorted(files(model))
    assert f"{NAME}, private" in ran.err
    for name in files(model):
        assert f"B  {name}\n" in ran.err
    assert "public" in cli("push", model, NAME, "--dry-run", "--public").err


def test_folders_of_this_machine_are_said(cli: Run, hub: Hub, bundle: Path) -> None:
    manifest = json.loads((bundle / "bertft.json").read_text())
    manifest["data"]["train"]["path"] = "/home/alice/data/train.conll"
    (bundle / "bertft.json").write_text(json.dumps(manifest, indent=1))
    assert "/home/alice/data/train.conll" in cli("push", bundle, NAME, "--dry-run", "-q").err


# -- secrets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("recipe.yaml", "# token hf_abcdefghijklmnopqrstuvwx", "a token of Hugging Face"),
        ("README.md", "key sk-proj-abcdefghijklmnopqrstuv", "an API key"),
        ("metrics.json", '{"a": "AKIAABCDEFGHIJKLMNOP"}', "a key of AWS"),
        ("config.json", '{"a": "ghp_abcdefghijklmnopqrstuvwxyz0123456789"}', "a token of GitHub"),
        ("LICENSE", "-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"),
        ("vocab.txt", "https://me:pass@example.org", "a password in an address"),
        ("tokenizer_config.json", '{"a": "canary05canary05"}', "a secret of the environment"),
    ],
)
def test_a_secret_is_refused_before_any_request(
    name: str, text: str, what: str, cli: Run, hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_PASSWORD", "canary05canary05")
    before = (bundle / name).read_text() if (bundle / name).exists() else ""
    (bundle / name).write_text(f"{before.rstrip()}\n{text}\n")
    ran = cli("push", bundle, NAME)
    line = len(before.rstrip().splitlines()) + 1 if before else 2
    ran.fails(1, f"{name}:{line}: {what}", "nothing was sent")
    assert hub.requests == []
    assert text.split('"')[-2 if '"' in text else 0].split()[-1] not in ran.err
    cli("push", bundle, NAME, "--dry-run").fails(1, f"{name}:{line}: {what}")


def test_the_tokens_of_a_vocabulary_are_no_secrets(cli: Run, hub: Hub, bundle: Path) -> None:
    (bundle / "vocab.txt").write_text("hf_\nsk-\nhf_model\nrisk-averse\n##://\n:@\nhttp://a.b:80/@\nAKIA\n")
    assert cli("push", bundle, NAME, "--dry-run").code == 0


# -- errors ------------------------------------------------------------------------------------------------------------


def test_visibility_is_never_changed(cli: Run, hub: Hub, model: Path) -> None:
    hub.repositories |= {"me/open": Repository(False), "me/closed": Repository(True)}
    cli("push", model, "me/open").fails(2, "me/open is public already", "--public")
    cli("push", model, "me/closed", "--public").fails(2, "me/closed is private already", "leave `--public` out")
    assert not arrived(hub, "me/open")
    assert not arrived(hub, "me/closed")
    assert not hub.repositories["me/open"].private


def test_no_token_and_a_wrong_one(cli: Run, hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrongwrongwrong")
    ran = cli("push", model, NAME)
    ran.fails(3, "the Hub does not know the token", "hf auth login")
    assert "wrongwrong" not in ran.err
    assert "wrongwrong" not in cli("push", model, NAME, "-v").err
    monkeypatch.delenv("HF_TOKEN")
    cli("push", model, NAME).fails(2, "there is no token", "hf auth login", "HF_TOKEN")


def test_somebody_elses_repository(cli: Run, hub: Hub, model: Path) -> None:
    cli("push", model, "you/x").fails(3, "may not write there", "--> you/x")
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("part", "status", "code", "said"),
    [
        ("/api/repos/create", 404, 3, "no such owner"),
        ("/commit/", 409, 3, "something else is happening"),
        ("/commit/", 412, 3, "somebody else has committed"),
        ("/commit/", 429, 3, "no more requests"),
        ("/commit/", 500, 3, "the Hub answers with 500"),
        ("/commit/", 403, 3, "may not write there"),
        ("/lfs/", 400, 3, "the Hub"),
        ("/api/validate-yaml", 400, 3, "the Hub does not take the card"),
    ],
)
def test_what_the_hub_says_is_one_error(
    part: str, status: int, code: int, said: str, cli: Run, hub: Hub, model: Path
) -> None:
    hub.failing[part] = status
    ran = cli("push", model, NAME)
    ran.fails(code, said)
    assert TOKEN not in ran.err
    assert not arrived(hub) if NAME in hub.repositories else True
    hub.failing.clear()
    assert cli("push", model, NAME).code == 0
    assert arrived(hub) == files(model)


def test_a_card_that_the_hub_does_not_take(cli: Run, hub: Hub, bundle: Path) -> None:
    (bundle / "README.md").write_text("---\ntags: [a]\n---\n")
    cli("push", bundle, NAME).fails(3, "the Hub does not take the card", "no results", "--> README.md")
    assert not arrived(hub)


def test_files_that_the_repository_ignores_are_said(cli: Run, hub: Hub, model: Path) -> None:
    hub.ignoring = ("recipe.yaml",)
    cli("push", model, NAME).fails(3, "the Hub has not taken recipe.yaml", ".gitignore")


def test_no_network(cli: Run, hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    cli("push", model, NAME).fails(3, "the Hub cannot be reached", "check the connection")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    cli("push", model, NAME).fails(3, "switched off (HF_HUB_OFFLINE)")


@pytest.mark.parametrize("name", ["ner", "a/b/c", "", "me/", "/x", "../x", "me/a b", "me/é", "-q/x", "me/x--y"])
def test_a_name_that_is_none(name: str, cli: Run, hub: Hub, model: Path) -> None:
    cli("push", "--", model, name).fails(2, "names no repository", "owner/name")
    assert hub.requests == []


def test_what_is_no_model_is_not_pushed(cli: Run, hub: Hub, bundle: Path, tmp_path: Path, encoder: Path) -> None:
    cli("push", tmp_path / "none", NAME).fails(4)
    cli("push", "embedded", NAME).fails(2, "nothing to push")
    cli("push", encoder, NAME).fails(2, "nothing to push")
    weights = bundle / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-9])
    cli("push", bundle, NAME).fails(4)
    weights.unlink()
    cli("push", bundle, NAME).fails(4, "model.safetensors is missing")
    (tmp_path / "elsewhere").write_bytes(whole)
    weights.symlink_to(tmp_path / "elsewhere")
    cli("push", bundle, NAME).fails(4, "model.safetensors cannot be pushed: a link")
    weights.unlink()
    weights.write_bytes(whole)
    (bundle / "bertft.json").write_text("{}")
    cli("push", bundle, NAME).fails(4, "damaged")
    assert hub.requests == []


def test_no_token_on_the_command_line(cli: Run, model: Path) -> None:
    cli("push", model, NAME, "--token", TOKEN).fails(2, "--token")


# -- and back ----------------------------------------------------------------------------------------------------------


def test_a_pushed_model_answers_from_the_hub_as_it_does_here(
    cli: Run, shell: Run, hub: Hub, model: Path, train_file: Path, tmp_path: Path
) -> None:
    cli("push", model, NAME)
    here = cli("predict", model, train_file, "--precision", "fp32")
    variables: dict[str, Any] = {
        "HF_ENDPOINT": hub.url, "HF_HOME": tmp_path / "home", "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PYTHONPATH": Path(__file__).parents[2],
    }  # fmt: skip
    hub.failing["/tree/"] = 400
    shell("predict", NAME, train_file, **variables).fails(4, f"cannot download {NAME!r}")
    hub.failing.clear()
    there = shell("predict", NAME, train_file, "--precision", "fp32", **variables)
    assert (there.code, there.out) == (0, here.out), there.err
    assert "has no bertft.json" not in there.err
    variables["HF_ENDPOINT"] = "http://127.0.0.1:9"
    again = shell("predict", NAME, train_file, "--precision", "fp32", **variables)
    assert (again.code, again.out) == (0, here.out), again.err
