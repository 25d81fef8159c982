# The quickstart: docker build -t layeredge . && docker run --rm -v "$PWD/results:/results" layeredge
FROM debian:trixie-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /layeredge
COPY pyproject.toml README.md LICENSE ./
COPY harness harness
COPY layeredge layeredge
COPY targets targets
COPY examples examples
RUN python3 -m venv /opt/layeredge && /opt/layeredge/bin/pip install --no-cache-dir .

# Fetched models, tuning records and measured roofs stay with the results.
ENV PATH=/opt/layeredge/bin:$PATH LAYEREDGE_CACHE=/results/cache
CMD ["layeredge", "run", "examples/quickstart.yaml", "--out", "/results/quickstart"]
