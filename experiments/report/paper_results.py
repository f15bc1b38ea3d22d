"""Numbers that the paper reports, to stand beside ours and never among them."""

SOURCE = "Chen, Lee and Soh (2021), Table I"
SOURCE_2 = "Chen, Lee and Soh (2021), Table II"

METHODS = ("mummi", "mummi_b", "cvrl", "dreamer")
"""Columns of Table I."""

EPISODES = 30
"""Behind each number: 10 of each of three training seeds."""

TABLE_1 = {
    "walker_run": {
        "none": ((466.7, 25.5), (116.4, 13.6), (311.7, 30.2), (71.3, 12.4)),
        "medium": ((438.7, 33.1), (119.1, 12.1), (277.5, 22.4), (70.7, 9.7)),
        "high": ((382.4, 38.5), (105.2, 14.6), (255.8, 31.4), (70.9, 37.3)),
    },
    "walker_walk": {
        "none": ((954.5, 21.5), (870.4, 44.1), (732.7, 61.7), (182.9, 37.7)),
        "medium": ((939.9, 26.1), (813.1, 65.1), (703.4, 48.9), (163.1, 31.8)),
        "high": ((890.0, 50.1), (760.3, 61.5), (607.5, 58.3), (172.8, 39.2)),
    },
    "walker_stand": {
        "none": ((966.8, 24.6), (959.8, 34.5), (955.6, 27.6), (307.0, 54.4)),
        "medium": ((952.4, 28.7), (946.5, 24.1), (940.1, 34.3), (334.3, 122.6)),
        "high": ((922.0, 59.7), (918.2, 58.4), (918.2, 31.9), (280.4, 72.7)),
    },
    "finger_spin": {
        "none": ((965.6, 10.9), (679.1, 38.7), (705.9, 32.1), (342.7, 37.3)),
        "medium": ((956.7, 17.0), (661.4, 42.7), (685.2, 36.4), (303.6, 30.7)),
        "high": ((929.1, 20.8), (620.4, 58.2), (623.8, 39.1), (271.2, 35.1)),
    },
    "cup_catch": {
        "none": ((949.5, 34.3), (725.8, 249.2), (922.0, 48.1), (124.0, 290.3)),
        "medium": ((948.0, 32.9), (637.8, 335.3), (904.2, 78.7), (47.7, 147.3)),
        "high": ((927.3, 38.0), (540.5, 317.7), (922.3, 47.9), (73.5, 225.3)),
    },
}
"""Task -> missing data -> (mean, standard deviation) of the return for each of ``METHODS``."""

METHODS_2 = ("mummi", "mummi_b", "mssm_e")
"""Columns of Table II."""

TABLE_2 = {
    "all modalities (medium missing)": ((61.4, 70.4), (48.8, 40.5), (60.9, 56.1)),
    "all modalities (fully observed)": ((60.6, 69.9), (47.9, 37.2), (64.9, 85.3)),
    "robot camera (medium missing)": ((57.8, 69.8), (62.1, 93.7), (64.0, 95.9)),
    "robot camera (fully observed)": ((65.9, 76.9), (69.2, 97.2), (60.4, 98.2)),
}
"""Sensors of Table Wiping -> (mean, standard deviation) of the return for each of ``METHODS_2``."""

SOURCE_LIBERO = (
    "Vanjani et al. (2025), DisDP, and Ismkhan and Bouchahcia (2026), RL4IL (arXiv:2606.15514)"
)

DISDP = {
    "libero_spatial": (0.701, 0.144, 0.112),
    "libero_object": (0.816, 0.295, 0.226),
    "libero_goal": (0.680, 0.004, 0.200),
}
"""Suite of LIBERO -> success of DisDP with nothing, the agent or the wrist camera missing."""

RL4IL = 0.733
"""Success that RL4IL reaches at best of these suites with one camera missing."""

SOURCE_MIRROR = "Bhaskar et al. (2026), MIRROR, Table 2"

MIRROR = {
    "Diffusion Policy": (83.6, 31.1, 9.0, 26.6),
    "Flow Matching": (61.4, 20.6, 13.4, 36.0),
    "IMLE Policy": (75.6, 60.4, 43.5, 76.0),
    "MIRROR": (96.4, 85.5, 58.0, 85.8),
}
"""Method -> percent of success on MetaWorld's easy, medium, hard and very hard tasks."""
