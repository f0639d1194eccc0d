"""What the README promises in code: its blocks and its two set-up commands."""

import pathlib
import re
import sys

README = pathlib.Path(__file__).parents[2] / "README.md"
COMMANDS = ("main-job", "test-command")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def command(name: str) -> str:
    """One of the two set-up commands: each is a `bash` block of one line, in this order."""
    lines = [block.strip() for block in blocks("bash") if block.startswith("python -m venv")]
    if len(lines) != len(COMMANDS) or any("\n" in line for line in lines):
        raise ValueError(f"README.md must have {len(COMMANDS)} set-up commands of one line each")
    return lines[COMMANDS.index(name)]


if __name__ == "__main__":
    print(command(sys.argv[1]))
