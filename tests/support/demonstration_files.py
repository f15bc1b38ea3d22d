"""HDF5 files written by hand as LIBERO and robomimic write theirs."""

import json

import h5py
import numpy as np

LIBERO_SHAPES = {
    "agentview_rgb": (8, 8, 3),
    "eye_in_hand_rgb": (8, 8, 3),
    "ee_ori": (3,),
    "ee_pos": (3,),
    "ee_states": (6,),
    "gripper_states": (2,),
    "joint_states": (7,),
}

PROBLEM = {
    "problem_name": "libero_tabletop_manipulation",
    "domain_name": "robosuite",
    "language_instruction": "open the drawer",
}


def libero(path, numbers=(0, 1), steps=6):
    """A file as LIBERO's scripts/create_dataset.py writes it; the steps of demo_i are steps + i."""
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_name"] = "Libero_Tabletop_Manipulation"
        data.attrs["problem_info"] = json.dumps(PROBLEM)
        data.attrs["macros_image_convention"] = "opengl"
        data.attrs["bddl_file_content"] = "(define (problem LIBERO_Tabletop_Manipulation))"
        data.attrs["bddl_file_name"] = "open_the_drawer.bddl"
        data.attrs["env_args"] = json.dumps({"type": 1, "env_name": "Libero", "env_kwargs": {}})
        for number in numbers:
            length = steps + number
            demo = data.create_group(f"demo_{number}")
            for name, shape in LIBERO_SHAPES.items():
                value = random.normal(size=(length, *shape))
                if name.endswith("rgb"):
                    value = random.integers(0, 256, (length, *shape), np.uint8)
                demo[f"obs/{name}"] = value
            demo["actions"] = random.normal(size=(length, 7))
            demo["states"] = random.normal(size=(length, 20))
            demo["robot_states"] = random.normal(size=(length, 9))
            demo["rewards"] = (np.arange(length) == length - 1).astype(np.uint8)
            demo["dones"] = (np.arange(length) == length - 1).astype(np.uint8)
            demo.attrs["num_samples"] = length
            demo.attrs["model_file"] = "<mujoco/>"
            demo.attrs["init_state"] = demo["states"][0]
        data.attrs["num_demos"] = len(numbers)
        data.attrs["total"] = sum(steps + number for number in numbers)
    return path


def robomimic(path):
    """A file as robomimic's scripts/dataset_states_to_obs.py --compress and split_train_val do."""
    random = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for number in range(12):
            demo = data.create_group(f"demo_{number}")
            for group in ("obs", "next_obs"):
                picture = random.integers(0, 256, (5, 6, 6, 3), np.uint8)
                demo.create_dataset(f"{group}/agentview_image", data=picture, compression="gzip")
                demo[f"{group}/robot0_eef_pos"] = random.normal(size=(5, 3))
                demo[f"{group}/agentview_depth"] = random.random((5, 6, 6, 1), np.float32)
            demo["actions"] = random.normal(size=(5, 4))
            demo["rewards"] = random.normal(size=5)
            demo["dones"] = np.array([0, 0, 0, 1, 1])
            demo.attrs["num_samples"] = 5
        data.attrs["total"] = 60
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {}})
        file["mask/valid"] = np.array(["demo_11", "demo_3"], dtype="S")
    return path
