# edgetts on a Jetson, with the torch that NVIDIA built for it:
#   docker build -f packaging/docker/l4t.Dockerfile --build-arg BASE=IMAGE -t edgetts:l4t .
# IMAGE has a torch of 2.8 or later for the board: JetPack 7: nvcr.io/nvidia/pytorch:25.08-py3 or later (the default);
# JetPack 6: an image of jetson-containers with torch 2.8 for L4T r36 (NVIDIA's own l4t-pytorch images end earlier).
# Daemon: docker run -d --runtime nvidia -p 127.0.0.1:8880:8880 -v edgetts:/data --env EDGETTS_TOKEN=... edgetts:l4t
ARG BASE=nvcr.io/nvidia/pytorch:25.08-py3
FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ libportaudio2 libsndfile1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The torch of the image is held: where it does not fit, pip refuses instead of replacing it.
# hadolint ignore=DL3042,SC2102
RUN python3 -c "import torch; print(f'torch=={torch.__version__}')" > /tmp/own-torch.txt \
    && EDGETTS_KERNELS=required python3 -m pip install --no-cache-dir -c /tmp/own-torch.txt ".[serve,wyoming,download,play]" \
    && rm -r /src
ENV EDGETTS_HOME=/data
RUN useradd --create-home --uid 10000 edgetts && usermod -a -G video edgetts && mkdir -p /data && chown edgetts /data
WORKDIR /data
USER 10000
VOLUME /data
EXPOSE 8880 10200
HEALTHCHECK --interval=30s --start-period=180s CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8880/health')"]
ENTRYPOINT ["edgetts"]
CMD ["serve", "--host", "0.0.0.0"]
