"""``serve`` with other limits of time: ``python -m ... LIMITS ARGUMENTS``, where LIMITS is a JSON object."""

import json
import sys

from openvino_reranker.cli import serve
from openvino_reranker.cli.main import make_parser
from openvino_reranker.cli.supervision import SupervisionTimeouts

if __name__ == "__main__":
    argv = ["serve", *sys.argv[2:]]
    sys.exit(serve.run(make_parser(argv).parse_args(argv), SupervisionTimeouts(**json.loads(sys.argv[1]))))
