"""``serve`` with other limits of time: ``python -m ... LIMITS ARGUMENTS``, where LIMITS is a JSON object."""

import json
import sys

from openvino_reranker.cli import serve
from openvino_reranker.cli.main import make_parser
from openvino_reranker.cli.supervision import Limits

if __name__ == "__main__":
    limits = Limits(**json.loads(sys.argv[1]))
    sys.exit(serve.run(make_parser().parse_args(["serve", *sys.argv[2:]]), limits))
