#!/usr/bin/env bash
# Make the record of results: 19 models and seven studies on the paper's datasets, to early stopping.
#
#   benchmarks/record.sh DATA OUT
#
# DATA has beauty.txt, toys.txt and sports.txt. OUT gets a folder for each sweep. The same command continues: finished
# runs are kept, and interrupted ones resume. Runs of the record (reports/runs) are not made again, unless you remove
# them from it. Run it from a clean clone, so that all runs have the same commit.
# JOBS=4 runs four jobs at once instead of two. Each has one thread, and a GPU if there is one.
set -euo pipefail
data=$(realpath "$1")
out=$(realpath -m "$2")
cd "$(dirname "$0")/.."

floors=popularity,markov,vsknn
recent=bsarec,fmlp,lrurec,hstu,gsasrec,esasrec
paper=adamct,sasrec,gru4rec,hgn,core,sine,caser,nextitnet,gcsan,bert4rec
all=$floors,$recent,$paper

# sweep FOLDER DATASET OVERRIDE...: run a sweep on a dataset; continue with the next one if some jobs fail. The seed must
# be swept, so that it is in the names of the jobs' folders, which --restore knows.
sweep() {
    nice -n 19 python run.py -m hydra/launcher=processes hydra.launcher.n_jobs="${JOBS:-2}" threads=1 \
        data_dir="$out/data" hydra.sweep.dir="$out/$1" hydra.callbacks.sweep.report=false \
        dataset="$2" dataset.path="$data/$2.txt" "${@:3}" || echo "$1: some jobs failed; see error.txt in their folders" >&2
}

python -m benchmarks.record --restore "$data" "$out"
sweep beauty beauty seed=1,2,3 model=$all
sweep toys toys seed=1,2,3 model=$all
sweep beauty beauty seed=4,5 model=$all
for study in table3 figure4 table4 departures; do
    sweep $study beauty sweep=$study seed=1,2,3
done
sweep sports sports 'seed=choice(1)' model=$all
sweep sports sports seed=2,3 model=adamct,sasrec,core,esasrec,hgn
sweep toys toys seed=4,5 model=$all
for study in loss table5 order; do
    sweep $study beauty sweep=$study seed=1
done
