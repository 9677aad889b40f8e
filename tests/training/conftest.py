import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors: a second thread would only wait, and for others if they are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
