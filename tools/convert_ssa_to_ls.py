"""`python tools/convert_ssa_to_ls.py --dataset_dir D --config_path C`, as seed 003 has it.

The same as `cornerloop convert ssa-to-ls`, under the name that old command lines use.
"""

import sys

from cloud.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["convert", "ssa-to-ls"]
    main()
