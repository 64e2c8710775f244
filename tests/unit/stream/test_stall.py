from wardstream.stream.stall import Stall


def test_it_lasts_from_the_last_move_on():
    now = [100.0]
    stall = Stall(10.0, lambda: now[0])
    now[0] = 110.0
    assert not stall.lasts
    now[0] = 110.1
    assert stall.lasts
    stall.moved()
    assert not stall.lasts
    now[0] = 121.0
    assert stall.lasts
