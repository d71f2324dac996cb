"""Which idle workers a search keeps."""

from ray.tune.utils.object_cache import _ObjectCache

from autoft.engine.idle import IdleWorkers


def all_of(cache: _ObjectCache) -> list[str]:
    return [worker for workers in cache._cached_objects.values() for worker in workers]


def test_where_no_trial_waits_all_stay_and_tune_alone_would_keep_one():
    cache, tune = IdleWorkers(), _ObjectCache(may_keep_one=True)
    for one in (cache, tune):
        for worker in ("first", "second", "third"):
            one.cache_object("one core", worker)
    assert list(cache.flush_cached_objects()) == []
    assert all_of(cache) == ["first", "second", "third"]
    assert cache.num_cached_objects == 3
    assert all_of(tune) == ["first"]


def test_where_a_trial_waits_that_one_of_them_can_take_all_stay():
    cache = IdleWorkers()
    for worker in ("first", "second"):
        cache.cache_object("one core", worker)
    cache.increase_max("one core")
    assert list(cache.flush_cached_objects()) == []
    assert cache.pop_cached_object("one core") == "first"


def test_where_a_trial_waits_for_other_resources_they_make_room():
    cache = IdleWorkers()
    cache.cache_object("one core", "first")
    cache.increase_max("a whole GPU")
    assert list(cache.flush_cached_objects()) == ["first"]
    assert cache.num_cached_objects == 0


def test_they_end_where_all_must():
    cache = IdleWorkers()
    cache.cache_object("one core", "first")
    assert list(cache.flush_cached_objects(force_all=True)) == ["first"]
    assert all_of(cache) == []
