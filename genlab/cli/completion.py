"""`genlab completion`: shell completion, for bash, and for zsh after `autoload bashcompinit && bashcompinit`."""

from __future__ import annotations

from genlab.cli.main import COMMANDS
from genlab.plugins import gather, methods

SCRIPT = """_genlab() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} command=${{COMP_WORDS[1]}} method=
  [ "$command" = train ] && method=${{COMP_WORDS[2]}}
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W "{commands}" -- "$word"))
  elif [ "$COMP_CWORD" = 2 ] && [ "$command" = train ]; then
    COMPREPLY=($(compgen -W "{methods}" -- "$word"))
  elif [ "${{word:0:2}}" = -- ]; then
    COMPREPLY=($(compgen -W "$(genlab "$command" $method --help 2>/dev/null | grep -oE -- '--[a-z0-9-]+')" -- "$word"))
  fi
}}
complete -o bashdefault -o default -F _genlab genlab
"""


def main(arguments: list[str]) -> None:
    if arguments in (["-h"], ["--help"]):
        print('usage: genlab completion\n\nPrints the shell completion; in ~/.bashrc: eval "$(genlab completion)"')
    elif arguments:
        raise ValueError(f"`genlab completion` takes no options, got {' '.join(arguments)!r}")
    else:
        print(SCRIPT.format(commands=" ".join(gather("COMMANDS", COMMANDS)), methods=" ".join(methods())), end="")
