"""The federation of mixed_ranks.py in NVFlare: the server's workflow."""

import pathlib

import numpy as np
from fedicu.nvflare import FedICU
from nvflare.app_common.abstract.fl_model import FLModel

from mixed_ranks import new_adapter


class MixedRanks(FedICU):
    """Begins with a new adapter, and keeps each round's in a file."""

    def load_model(self) -> FLModel:
        return FLModel(params=new_adapter().tensors, params_type="FULL")

    def save_model(self, model: FLModel) -> None:
        np.savez(pathlib.Path(self.save_filename), **model.params)
