# Three images from one file: `docker build --target service .` and likewise `indexer` and `trainer`.
# Packages are installed in a stage of their own, slimmed there and copied: what was removed is in no layer, and neither
# is pip's work. The order is that of the sizes, since the classic builder builds every stage above its target.

FROM python:3.11-slim AS base
# A user with a name, because libraries ask for it, and without a home: the image is read-only to it.
RUN groupadd --gid 10001 dowse && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp dowse
ENV PYTHONPATH=/app:/site-packages PYTHONUNBUFFERED=1 HOME=/tmp DOWSE_DATA=/data
# Nothing is reported to anybody: ONNX Runtime sends usage events to its maker unless told not to.
ENV ORT_DISABLE_TELEMETRY=1
WORKDIR /app

FROM python:3.11-slim AS build
COPY scripts/slim-site-packages /usr/local/bin/
ENV PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1

# --- service ---------------------------------------------------------------------------------------------------------

FROM build AS service-packages
# With --build-arg OTEL=1 the image can send traces, with MILVUS=1 it can search in Milvus.
ARG OTEL
ARG MILVUS
COPY requirements-service.lock requirements-otel.lock requirements-milvus.lock ./
# Bytecode, which nobody could write later, halves the time until the service is ready.
RUN pip install --no-cache-dir --no-compile --target /site-packages \
        -r requirements-service.lock ${OTEL:+-r requirements-otel.lock} ${MILVUS:+-r requirements-milvus.lock} \
    && slim-site-packages /site-packages service \
    && python -m compileall -q /site-packages

FROM base AS service
COPY --from=service-packages /site-packages /site-packages
COPY indexer/ indexer/
COPY service/ service/
# The import fails the build where too much was removed.
RUN python -m compileall -q . && python -c "import service.app, service.__main__, service.server.worker, uvicorn, pyarrow.compute, \
        mcp.server.lowlevel, mcp.server.streamable_http_manager"
USER 10001:10001
# Inside a container 127.0.0.1 would be reachable for nobody. Without a key file the service therefore does not start
# unless DOWSE_INSECURE=1 says that who may reach it is decided where the port is published.
ENV DOWSE_HOST=0.0.0.0 DOWSE_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python", "-ISc", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=2); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "service"]

# --- indexer ---------------------------------------------------------------------------------------------------------

FROM build AS indexer-packages
# With --build-arg MILVUS=1 the image can publish indexes in Milvus.
ARG MILVUS
COPY requirements-indexer.lock requirements-milvus.lock ./
RUN pip install --no-cache-dir --no-compile --target /site-packages \
        -r requirements-indexer.lock ${MILVUS:+-r requirements-milvus.lock} \
    && slim-site-packages /site-packages indexer \
    && python -m compileall -q /site-packages

FROM base AS indexer
COPY --from=indexer-packages /site-packages /site-packages
COPY indexer/ indexer/
RUN python -m compileall -q . && python -c "import indexer.build.build, indexer.corpus.sample, psycopg, py3langid, \
        pyarrow.parquet, sqlalchemy.dialects.postgresql.psycopg, sqlalchemy.dialects.sqlite"
USER 10001:10001
ENTRYPOINT ["python", "-m", "indexer"]

# --- trainer ---------------------------------------------------------------------------------------------------------

FROM build AS trainer-packages
# Where pip is offered only the CUDA build of torch, this image grows by gigabytes. For one that trains on CPUs, name
# an index of CPU builds: --build-arg PIP_EXTRA_INDEX_URL=…
ARG PIP_EXTRA_INDEX_URL
COPY requirements-trainer.lock .
# Importing compiles what is used of torch and transformers, a small part of them.
RUN pip install --no-cache-dir --no-compile --target /site-packages -r requirements-trainer.lock \
    && slim-site-packages /site-packages trainer \
    && PYTHONPATH=/site-packages python -c "import onnxruntime.quantization, sentence_transformers, torch.onnx"

FROM base AS trainer
COPY --from=trainer-packages /site-packages /site-packages
COPY indexer/ indexer/
COPY trainer/ trainer/
# What importing leaves in /tmp belongs to root, and would be in the way of another user's caches there.
RUN python -m compileall -q . \
    && python -c "import trainer.pipeline.run, trainer.queries.generate, trainer.finetune.finetune, trainer.finetune.tsdae, trainer.models.embed, trainer.mining.negatives, \
        trainer.reports.page, psycopg, sqlalchemy.dialects.postgresql.psycopg, sqlalchemy.dialects.sqlite" \
    && find /tmp -mindepth 1 -delete
USER 10001:10001
# Models from the hub stay with the data, so that they are fetched once. Bars would fill a log.
ENV HF_HOME=/data/.cache/huggingface HF_HUB_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_PROGRESS_BARS=1
ENTRYPOINT ["python", "-m", "trainer"]
