"""`python tools/convert_ls_to_trainid.py --dataset_dir D --ls_json_name F --config_path C`.

The same as `cornerloop convert ls-to-train-ids`, under seed 003's name for it.
"""

import sys

from cloud.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["convert", "ls-to-train-ids"]
    main()
