"""M3DDM: context and guide frames, global frames of the whole video, three levels of key frames."""
