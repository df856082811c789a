"""The scripts and commands on the model, which the real server is held to as well."""

from tests.contract.redis import ScriptsContract
from tests.model_redis import Memory, ModelRedis


class TestModel(ScriptsContract):
    """The contract on the model."""

    def setup_method(self) -> None:
        self.memory = Memory()

    async def connect(self) -> ModelRedis:
        return ModelRedis(self.memory)
