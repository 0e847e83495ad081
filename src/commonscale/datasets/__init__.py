"""The published data sets, read as they are published: MultiModalQA, WebQA, UniVL-DR's setting of it, and MixBench."""

from commonscale.datasets.mixbench import SUBSETS, MixBench, MixBenchSubset, MixedDocument
from commonscale.datasets.mmqa import MultiModalQA
from commonscale.datasets.pictures import FolderPictures, PictureStore, ZipPictures, load_cut_image
from commonscale.datasets.records import DatasetQuestion, Passage, Picture, RetrievalDataset
from commonscale.datasets.tsv_pictures import TsvPictures
from commonscale.datasets.univl_dr import UniVLDR
from commonscale.datasets.webqa import WebQA

__all__ = [
    "SUBSETS",
    "DatasetQuestion",
    "FolderPictures",
    "MixBench",
    "MixBenchSubset",
    "MixedDocument",
    "MultiModalQA",
    "Passage",
    "Picture",
    "PictureStore",
    "RetrievalDataset",
    "TsvPictures",
    "UniVLDR",
    "WebQA",
    "ZipPictures",
    "load_cut_image",
]
