# syntax=docker/dockerfile:1
# docker build -t ensue .                                    builds the binary, then the image
# docker build -t ensue --target runtime \
#   --build-context build=FOLDER .                           takes the binary from FOLDER/out/ensue instead
ARG BASE=docker.io/library/debian:bookworm-slim

FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN rustup component add llvm-tools && packaging/build.sh && install -D target/dist/ensue /out/ensue

FROM ${BASE} AS runtime
# Tools that actions of packs use. A base image that has them already needs no network here.
RUN set -eu; \
    packages="ca-certificates curl git jq openssh-client python3-minimal tzdata"; \
    dpkg --status $packages >/dev/null 2>&1 || { \
      apt-get update; \
      apt-get install --yes --no-install-recommends $packages; \
      rm -rf /var/lib/apt/lists/*; \
    }; \
    groupadd --gid 65532 ensue; \
    useradd --uid 65532 --gid 65532 --home-dir /var/lib/ensue --shell /usr/sbin/nologin ensue; \
    install --directory --owner=65532 --group=65532 --mode=0700 /var/lib/ensue /var/lib/ensue/data /var/lib/ensue/keys /var/lib/ensue/state; \
    install --directory --owner=65532 --group=65532 /etc/ensue/packs
COPY --from=build /out/ensue /usr/local/bin/ensue
# For authors of packs: copy them next to a program.
COPY sdk /usr/share/ensue/sdk
ENV ENSUE_LISTEN=0.0.0.0:3678 \
    ENSUE_DATA=/var/lib/ensue/data \
    ENSUE_PACKS_DIR=/etc/ensue/packs \
    HOME=/var/lib/ensue \
    XDG_STATE_HOME=/var/lib/ensue/state
USER 65532:65532
WORKDIR /var/lib/ensue
VOLUME ["/var/lib/ensue/data", "/var/lib/ensue/state"]
EXPOSE 3678
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["ensue", "status", "--ready"]
LABEL org.opencontainers.image.title="Ensue" \
      org.opencontainers.image.description="Event-driven automation on an event-sourced engine" \
      org.opencontainers.image.licenses="Apache-2.0"
ENTRYPOINT ["ensue"]
CMD ["serve", "--log-format", "json"]
