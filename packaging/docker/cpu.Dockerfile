# edgetts on an x86-64 or aarch64 CPU: docker build -f packaging/docker/cpu.Dockerfile -t edgetts:cpu .
# Speak:  docker run --rm -v edgetts:/data edgetts:cpu say "Hello." -o - > hello.wav
# Daemon: docker run -d -p 127.0.0.1:8880:8880 -v edgetts:/data --env EDGETTS_TOKEN=... edgetts:cpu
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE} AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN EDGETTS_KERNELS=required pip wheel --no-cache-dir --no-deps -w /wheels .

FROM ${BASE}
# libgomp1: torch; libportaudio2: playback on the host's card (docker run --device /dev/snd).
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 libportaudio2 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
# On x86-64 the usual torch brings several GB of CUDA. PyTorch's page names an index of CPU builds: give it with
# docker build --build-arg TORCH_INDEX=...; without one pip's own index serves.
ARG TORCH_INDEX=
# hadolint ignore=DL3013
RUN if [ -n "${TORCH_INDEX}" ]; then export PIP_INDEX_URL="${TORCH_INDEX}"; fi \
    && pip install --no-cache-dir "torch>=2.8,<2.14" \
    && unset PIP_INDEX_URL \
    && wheel=$(echo /wheels/edgetts_runtime-*.whl) \
    && pip install --no-cache-dir "${wheel}[serve,wyoming,download,play]" && rm -r /wheels
ENV EDGETTS_HOME=/data
RUN useradd --create-home --uid 10000 edgetts && mkdir /data && chown edgetts /data
USER 10000
VOLUME /data
EXPOSE 8880 10200
HEALTHCHECK --interval=30s --start-period=120s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8880/health')"]
ENTRYPOINT ["edgetts"]
CMD ["serve", "--host", "0.0.0.0"]
