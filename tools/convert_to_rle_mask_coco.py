"""`python tools/convert_to_rle_mask_coco.py --json_file_path F --out_dir D`, as seed 002 has it.

The same as `cornerloop convert ls-to-coco`, under the name that old command lines use.
"""

import sys

from cloud.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["convert", "ls-to-coco"]
    main()
