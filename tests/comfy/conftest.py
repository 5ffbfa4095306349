from comfy_home import find_comfyui

collect_ignore_glob = [] if find_comfyui() else ["test_*.py"]
