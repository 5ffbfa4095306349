"""Prompts to token embeddings by a CLIP text encoder in the Stable Diffusion folder layout."""

from pathlib import Path

import torch
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils.logging import disable_progress_bar

from ..errors import ConditioningError


def encode_text(base: str | Path, prompts: list[str], device: str = "cpu") -> torch.Tensor:
    """Embeddings [len(prompts), 77, D] float32 on the CPU: the last hidden state after the final norm, without attention mask.

    `base` holds `tokenizer` and `text_encoder`. Raises ConditioningError when it does not.
    """
    disable_progress_bar()  # the command line has a bar of its own
    base = Path(base)
    for part in ("tokenizer", "text_encoder"):
        if not (base / part).is_dir():
            raise ConditioningError(
                f"{base} has no folder '{part}', which is needed even for an empty prompt; give the Stable Diffusion folder that the model was trained with"
            )
    try:
        tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
        encoder = CLIPTextModel.from_pretrained(base / "text_encoder", local_files_only=True).float()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConditioningError(
            f"the text encoder in {base} cannot be loaded ({str(error).splitlines()[0]}); download the folder again"
        ) from None
    reach = encoder.config.max_position_embeddings
    if tokenizer.model_max_length > reach:
        raise ConditioningError(
            f"the tokenizer in {base} makes {tokenizer.model_max_length} tokens, but the text encoder takes {reach}; download the folder again"
        )
    tokens = tokenizer(
        prompts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    with torch.inference_mode():
        return encoder.to(device)(tokens.input_ids.to(device))[0].float().cpu()
