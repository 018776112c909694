"""Price levels, first in first out."""

import pytest

from zerodebt.exchange.book import Book, Order
from zerodebt.exchange.commands import BUY, SELL


def order(order_id: int, side: int, price: int, lots: int = 1) -> Order:
    return Order(order_id, 16, 0, side, price, lots, 0, False, False)


def book_of(*orders: Order) -> Book:
    book = Book()
    for each in orders:
        book.add(each)
    book.check()
    return book


@pytest.mark.spec("BOOK-01")
def test_walk_is_by_price_and_then_by_arrival() -> None:
    book = book_of(
        order(1, BUY, 99), order(2, BUY, 100), order(3, BUY, 99), order(4, SELL, 102), order(5, SELL, 101)
    )
    assert [o.order_id for o in book.walk(BUY)] == [2, 1, 3]
    assert [o.order_id for o in book.walk(SELL)] == [5, 4]


def test_prices_below_zero_are_prices_like_any_other() -> None:
    book = book_of(order(1, BUY, -40), order(2, BUY, -37), order(3, SELL, 0), order(4, SELL, -5))
    assert book.best_ticks(BUY) == -37
    assert book.best_ticks(SELL) == -5
    assert [o.order_id for o in book.walk(SELL)] == [4, 3]


def test_price_of_zero_is_a_best_price_and_not_a_missing_one() -> None:
    book = book_of(order(1, BUY, 0))
    assert book.best_ticks(BUY) == 0
    assert book.best_ticks(SELL) is None
    assert book.would_take(SELL, 0)
    assert not book.would_take(BUY, 0)


@pytest.mark.spec("BOOK-06")
def test_level_goes_with_its_last_order() -> None:
    first, second = order(1, SELL, 101, 2), order(2, SELL, 101, 3)
    book = book_of(first, second, order(3, SELL, 102, 5))
    assert list(book.depth(SELL)) == [(101, 2 + 3), (102, 5)]
    book.remove(first)
    assert list(book.depth(SELL)) == [(101, 3), (102, 5)]
    book.remove(second)
    book.check()
    assert list(book.depth(SELL)) == [(102, 5)]
    assert book.best_ticks(SELL) == 102


@pytest.mark.parametrize(("price", "takes"), [(100, False), (101, True), (102, True)])
def test_an_order_takes_from_the_best_price_on(price: int, takes: bool) -> None:
    assert book_of(order(1, SELL, 101)).would_take(BUY, price) is takes


def test_removing_what_does_not_rest_is_our_mistake() -> None:
    with pytest.raises(KeyError):
        book_of().remove(order(1, BUY, 100))


@pytest.mark.parametrize("bad", [order(2, BUY, 102), order(2, BUY, 101), order(2, BUY, 99, 0)])
def test_check_sees_a_crossed_book_and_an_empty_order(bad: Order) -> None:
    book = book_of(order(1, SELL, 101))
    book.add(bad)
    with pytest.raises(AssertionError):
        book.check()
