# The package with a compiler and the notebooks: docker build -t eprop_brian .
#   docker run --rm -p 8888:8888 eprop_brian                     JupyterLab with the notebooks
#   docker run --rm -v "$PWD/runs:/home/user/runs" eprop_brian eprop-brian train cartpole
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 user

COPY . /opt/eprop_brian
RUN pip install --no-cache-dir "/opt/eprop_brian[bptt,datasets]" jupyterlab

USER user
WORKDIR /home/user
RUN cp -r /opt/eprop_brian/docs/notebooks /opt/eprop_brian/examples /home/user/
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "notebooks"]
