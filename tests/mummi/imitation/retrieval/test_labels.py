"""Labels of demonstrations in closed form."""

import numpy as np

from mummi.imitation.retrieval.labels import at_events, event_steps, knots, moved, padded


def test_a_path_is_the_same_at_every_speed():
    slow, fast = np.full((64, 2), [0.5, -1.0]), np.full((16, 2), [2.0, -4.0])
    line = np.linspace(0, 1, 33)[1:, None] * np.array([32.0, -64.0])
    for displacements in (slow, fast):
        np.testing.assert_allclose(knots(moved(displacements)), line)
    np.testing.assert_allclose(knots(5 + moved(fast), 4), line[7::8])


def test_steps_of_events():
    assert event_steps(np.array([-1, -1, 1, 1, -1, -1.0])).tolist() == [2, 4]
    assert event_steps(np.array([-1, 1, -1, 1, -1.0])).tolist() == [1, 4]
    assert event_steps(np.array([-1, -0.2, 0.4])).tolist() == [2, 3]
    assert event_steps(np.full(4, -1.0)).tolist() == [4, 4]


def test_places_at_events_are_displacements_and_the_last_beyond_the_end():
    path = np.array([[1.0, 1.0], [2.0, 3.0], [4.0, 7.0]])
    found = at_events(path, np.array([1, 9]))
    np.testing.assert_array_equal(found, [[1, 2], [3, 6]])


def test_padding():
    found = padded([np.ones((2, 3)), np.full((4, 3), 2.0)])
    assert found.shape == (2, 4, 3) and found.dtype == np.float32
    assert found[0, 2:].tolist() == [[0] * 3] * 2 and (found[1] == 2).all()
