# One image with the five services and the stampede command; a container's command says which of them it runs.
#
#   docker build --tag stampede .

FROM swift:6.3-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends pkg-config librdkafka-dev libpq-dev libmicrohttpd-dev \
        libcurl4-openssl-dev libsodium-dev libcjose-dev libjansson-dev libicu-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# The executables and the parts of Swift's runtime that they use, in one folder: they look for them beside themselves.
RUN --mount=type=cache,target=/build/.build,sharing=locked \
    set -eu; \
    programs="messaging catalog reservation payment notification stampede"; \
    for program in $programs; do swift build --configuration release --product "$program"; done; \
    mkdir /out; \
    for program in $programs; do install --strip ".build/release/$program" /out/; done; \
    ldd /out/* | awk '$3 ~ /\/swift\/linux\// { print $3 }' | sort -u | xargs -I '{}' cp --dereference '{}' /out/

# The web client: static files, which no program of ours serves.
FROM debian:bookworm-slim AS web
RUN apt-get update \
    && apt-get install --yes --no-install-recommends nodejs node-typescript node-js-yaml node-react node-react-dom esbuild \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY scripts/lib.sh scripts/web scripts/web-page scripts/web-texts scripts/web-types scripts/
COPY docs/openapi/stampede.yaml docs/openapi/
COPY Web Web
RUN scripts/web

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl librdkafka1 libpq5 libmicrohttpd12 \
        libcurl4 libsodium23 libcjose0 libjansson4 libicu72 \
    && rm -rf /var/lib/apt/lists/*
# A user for each, so that a secret can be readable for one of them alone. Nobody has a shell or a home.
RUN set -eu; \
    number=10000; \
    for user in stampede messaging catalog reservation payment notification; do \
        groupadd --gid "$number" "$user"; \
        useradd --uid "$number" --gid "$number" --home-dir /nonexistent --shell /usr/sbin/nologin "$user"; \
        number=$((number + 1)); \
    done; \
    install --directory --owner stampede --group stampede /stampede /stampede/.local /secrets /site
COPY --from=build /out /opt/stampede
COPY --from=web /build/.build/web/site /opt/stampede/web/site
COPY deploy/nginx/web.conf deploy/nginx/site.conf /opt/stampede/web/
ENV PATH=/opt/stampede:/usr/local/bin:/usr/bin:/bin \
    STAMPEDE_HTTP_ADDRESS=0.0.0.0 \
    STAMPEDE_HTTP_PORT=8080
WORKDIR /stampede
USER stampede
STOPSIGNAL SIGTERM
EXPOSE 8080
# Ready, not only alive: who waits for the container wants to be answered. Where `stampede` runs, switch it off.
HEALTHCHECK --interval=5s --timeout=3s --start-period=300s --retries=3 \
    CMD curl --silent --fail --max-time 2 --output /dev/null "http://127.0.0.1:$STAMPEDE_HTTP_PORT/health/ready"
CMD ["stampede", "--help"]
