# AdaMCT for GPUs: docker build --tag adamct . && docker run --gpus all --volume "$PWD:/work" adamct dataset=beauty
# The versions are those of uv.lock. torch's wheels bring CUDA, and the host has the driver and the NVIDIA Container Toolkit.
# The image has gcc, which torch.compile needs. Outputs and data go to /work, which the user 1000 must be able to write.
FROM python:3.11.13-bookworm
RUN pip install --no-cache-dir uv==0.13.9 \
    && useradd --create-home --uid 1000 adamct \
    && mkdir /adamct /work && chown adamct /adamct /work
USER 1000
WORKDIR /adamct
COPY --chown=1000 pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-cache --no-install-project --extra search --extra tensorboard
COPY --chown=1000 . .
RUN uv sync --frozen --no-cache --extra search --extra tensorboard
WORKDIR /work
ENTRYPOINT ["/adamct/.venv/bin/python", "/adamct/run.py"]
