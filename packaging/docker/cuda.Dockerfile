# edgetts on an NVIDIA GPU of a PC or server: docker build -f packaging/docker/cuda.Dockerfile -t edgetts:cuda .
# Daemon: docker run -d --gpus all -p 127.0.0.1:8880:8880 -v edgetts:/data --env EDGETTS_TOKEN=... edgetts:cuda
# PyPI's torch brings its own CUDA libraries: the host needs a driver and the NVIDIA container toolkit, the image no CUDA.
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE} AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN EDGETTS_KERNELS=required pip wheel --no-cache-dir --no-deps -w /wheels .

FROM ${BASE}
# gcc and libc6-dev: Triton compiles a stub when a kernel is first used. libportaudio2: playback on the host's card.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev libgomp1 libportaudio2 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
# hadolint ignore=DL3013
RUN wheel=$(echo /wheels/edgetts_runtime-*.whl) \
    && pip install --no-cache-dir "${wheel}[serve,wyoming,download,play,torchao,nf4]" && rm -r /wheels
ENV EDGETTS_HOME=/data NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN useradd --create-home --uid 10000 edgetts && mkdir /data && chown edgetts /data
USER 10000
VOLUME /data
EXPOSE 8880 10200
HEALTHCHECK --interval=30s --start-period=180s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8880/health')"]
ENTRYPOINT ["edgetts"]
CMD ["serve", "--host", "0.0.0.0"]
