"""Recipes by their names, and what the papers say of each."""

import importlib


def load(recipe):
    """The config of 'name' or 'name:arguments'."""
    name, _, arguments = recipe.partition(":")
    module = importlib.import_module(f"configs.{name}")
    return module.get_config(arguments) if arguments else module.get_config()


def read(config, path):
    """The value of a field such as 'optimizer.b2'."""
    for name in path.split("."):
        config = config[name]
    return config


# What each paper says, typed from the papers, not from the configs.
ADAM = {
    "optimizer.name": "adam",
    "optimizer.b1": 0.9,
    "optimizer.b2": 0.999,
    "optimizer.eps": 1e-8,
    "optimizer.weight_decay": 0.0,
    "optimizer.clip": "none",
}
L1_OF_255 = {"loss.name": "l1", "loss.scale": 255.0, "adversarial.weight": 0.0}
DIV2K = {"data.source": "div2k", "data.lr_patch_size": 48, "data.batch_size": 16}
PAPERS = {
    "srcnn": {
        "model.name": "srcnn_915",
        "model.kernel_sizes": (9, 1, 5),
        "model.n_feats": (64, 32),
        "model.padding": "valid",
        "data.source": "folder",
        "data.scales": (2,),
        "data.lr_patch_size": 33,
        "data.batch_size": 128,
        "train.steps": 6_250_000,  # 8e8 back-propagations
        "optimizer.name": "sgd",
        "optimizer.momentum": 0.9,
        "optimizer.layer_rates.conv_2": 0.1,
        "optimizer.weight_decay": 0.0,
        "optimizer.clip": "none",
        "loss.name": "sum_of_squares",
        "loss.scale": 1.0,
    },
    "vdsr": {
        "model.name": "vdsr",
        "model.depth": 20,
        "model.n_feats": 64,
        "model.use_bias": True,
        "data.source": "folder",
        "data.scales": (2, 3, 4),
        "data.lr_patch_size": 41,
        "data.batch_size": 64,
        "train.steps": 9960,
        "optimizer.name": "sgd",
        "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 1e-4,
        "optimizer.clip": "adjustable",
        "loss.name": "half_sum_of_squares",
        "loss.scale": 1.0,
    },
    "srresnet": {
        **ADAM,
        "model.name": "srresnet",
        "model.scale": 4,
        "model.n_resblocks": 16,
        "model.n_feats": 64,
        "data.source": "div2k",
        "data.scales": (4,),
        "data.lr_patch_size": 24,  # of HR patches of 96 x 96
        "data.batch_size": 16,
        "train.steps": 1_000_000,
        "loss.name": "mse",
        "loss.scale": 2.0,  # [0, 1] to [-1, 1]
        "adversarial.weight": 0.0,
        "init_from": None,
    },
    "srgan": {
        **ADAM,
        "model.name": "srgan_generator",
        "model.scale": 4,
        "model.n_resblocks": 16,
        "model.n_feats": 64,
        "data.source": "div2k",
        "data.scales": (4,),
        "data.lr_patch_size": 24,
        "data.batch_size": 16,
        "train.steps": 200_000,
        "loss.name": "vgg54",
        "loss.scale": 1 / 12.75,
        "loss.vgg": None,
        "adversarial.weight": 1e-3,
        "adversarial.n_feats": 64,
        "init_from": "runs/srresnet",
    },
    "edsr": {
        **ADAM,
        **L1_OF_255,
        **DIV2K,
        "model.name": "edsr",
        "model.scale": 2,
        "model.n_resblocks": 32,
        "model.n_feats": 256,
        "model.res_scale": 0.1,
        "data.scales": (2,),
        "train.steps": 300_000,
    },
    "mdsr": {
        **ADAM,
        **L1_OF_255,
        **DIV2K,
        "model.name": "mdsr",
        "model.scales": (2, 3, 4),
        "model.n_resblocks": 80,
        "model.n_feats": 64,
        "data.scales": (2, 3, 4),
        "train.steps": 650_000,
    },
    "rcan": {
        **ADAM,
        **L1_OF_255,
        **DIV2K,
        "model.name": "rcan",
        "model.scale": 2,
        "model.n_resgroups": 10,
        "model.n_resblocks": 20,
        "model.n_feats": 64,
        "model.reduction": 16,
        "data.scales": (2,),
        "train.steps": 1_000_000,
        "init_from": None,
    },
    "san": {
        **ADAM,
        **L1_OF_255,
        **DIV2K,
        "model.name": "san",
        "model.scale": 2,
        "model.n_resgroups": 20,
        "model.n_resblocks": 10,
        "model.n_feats": 64,
        "model.reduction": 16,
        "data.scales": (2,),
        "data.batch_size": 8,
        "train.steps": 1_000_000,
        "optimizer.b2": 0.99,
    },
    "csnln": {
        **ADAM,
        **L1_OF_255,
        **DIV2K,
        "model.name": "csnln",
        "model.scale": 2,
        "model.n_feats": 128,
        "model.depth": 12,
        "model.rgb_range": 1.0,
        "data.scales": (2,),
        "train.steps": 1_000_000,
        "loss.scale": 1.0,
    },
}
# Arguments, and the fields that they change.
ARGUMENTS = {
    "srcnn:955,x3,photos": {
        "model.name": "srcnn_955",
        "model.kernel_sizes": (9, 5, 5),
        "model.scale": 3,
        "data.scales": (3,),
        "data.source": "photos",
    },
    "srcnn:935,folder=T91": {"model.kernel_sizes": (9, 3, 5), "data.path": "T91"},
    "vdsr:folder=T91,BSDS200": {"data.source": "folder", "data.path": "T91,BSDS200"},
    "srresnet:x2": {"model.scale": 2, "data.scales": (2,), "data.lr_patch_size": 48},
    "srresnet:x3": {"model.scale": 3, "data.scales": (3,), "data.lr_patch_size": 32},
    "srresnet:x8,photos": {"model.scale": 8, "data.lr_patch_size": 12, "data.source": "photos"},
    "srgan:x4": {"loss.name": "vgg54", "init_from": "runs/srresnet-x4"},
    "srgan:vgg22,photos": {
        "loss.name": "vgg22",
        "loss.scale": 1 / 12.75,
        "init_from": "runs/srresnet-photos",
    },
    "srgan:mse,folder=a/mse,b": {
        "loss.name": "mse",
        "loss.scale": 2.0,
        "adversarial.weight": 1e-3,
        "init_from": "runs/srresnet-folder-a-mse-b-abbcc7",
    },
    "edsr:x4,baseline,photos": {
        "model.name": "edsr_baseline",
        "model.scale": 4,
        "model.n_resblocks": 16,
        "model.n_feats": 64,
        "model.res_scale": 1.0,
        "data.scales": (4,),
        "data.source": "photos",
    },
    "edsr:folder=a,b": {"data.source": "folder", "data.path": "a,b"},
    "mdsr:baseline": {"model.name": "mdsr_baseline", "model.n_resblocks": 16},
    "rcan:x8": {"model.scale": 8, "data.scales": (8,), "data.lr_patch_size": 48},
    "rcan:x3,div2k": {"model.scale": 3, "data.scales": (3,), "data.source": "div2k"},
    "san:photos,x4": {"model.scale": 4, "data.scales": (4,), "data.batch_size": 8},
    "csnln:x3": {"model.scale": 3, "data.scales": (3,), "data.lr_patch_size": 48},
    "demo": {"model.name": "edsr_baseline", "data.source": "photos", "train.steps": 800},
}
SMOKES = [
    "srcnn:smoke",
    "srcnn:smoke,955,x4",
    "vdsr:smoke",
    "srresnet:smoke",
    "srresnet:x2,photos,smoke",
    "srresnet:smoke,x3",
    "srresnet:smoke,x8",
    "srgan:smoke",
    "srgan:smoke,vgg22",
    "srgan:smoke,vgg54",
    "edsr:smoke",
    "edsr:x3,smoke,baseline",
    "mdsr:smoke",
    "mdsr:smoke,baseline",
    "rcan:smoke",
    "rcan:smoke,x8",
    "san:smoke",
    "san:smoke,x3",
    "csnln:smoke",
    "csnln:smoke,x3",
    "csnln:smoke,x4",
]
EVERY = [*PAPERS, *ARGUMENTS, *SMOKES]
