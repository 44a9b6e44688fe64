"""The algebra of axes: what stands on two axes is made the same, split and cut where operators ask for it.

An axis is a row (a sum) of products of *atoms*, and of fixed numbers. An atom is a number of channels of which nothing
is known yet; whoever finds that it is made of others *binds* it to a row of these:

* as a product, where a reshape splits its axis in two, or a convolution works in groups: 12 -> 3 x 4;
* as a sum, where a slice ends within it, or a concatenation is joined to it: 12 -> 8 + 4.

So two rows that must be the same are refined until they are, which is unification (Robinson 1965) with sizes. Where
that is impossible the atoms of both are frozen with the reason. A channel that a slice cuts in two is fixed alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

Term = tuple[int, int]
"""(atom, size); the atom is `FIXED` for a fixed number of places."""

Product = tuple[Term, ...]
"""The slowest first."""

Row = tuple[Product, ...]

FIXED = -1

MOST_COPIES = 64
"""Equal parts that an axis is split in, where these are put side by side."""


def fixed(size: int) -> Row:
    """A row without atoms."""
    return (((FIXED, size),),)


def length(row: Row) -> int:
    """Places of an axis."""
    return sum(map(extent, row))


def extent(product: Product) -> int:
    """Places of a segment of it."""
    return prod(size for _, size in product)


class Terms:
    """The atoms, what each is bound to, and why some are frozen."""

    def __init__(self) -> None:
        self.bound: list[Row | None] = []
        self.reasons: list[str] = []

    def new(self, size: int, reason: str = "") -> Row:
        """A new atom; with a reason it is frozen from the start."""
        self.bound.append(None)
        self.reasons.append(reason)
        return (((len(self.bound) - 1, size),),)

    def part(self, size: int, reason: str) -> Row:
        """A factor of an atom; one of a single channel is fixed."""
        return self.new(size, reason) if size > 1 else fixed(size)

    def current(self, row: Row) -> Row:
        """The row by what its atoms were bound to; only sums within products stay atoms."""
        found: list[Product] = []
        for product in row:
            for p in self._flat(product):
                if found and _is_fixed(p) and _is_fixed(found[-1]):
                    found[-1] = ((FIXED, extent(p) + extent(found[-1])),)
                else:
                    found.append(p)
        return tuple(found)

    def _flat(self, product: Product) -> Row:
        terms: list[Term] = []
        for n, term in enumerate(product):
            row = self._known(term)
            if len(row) == 1:
                terms += row[0]
            elif not terms:  # a sum times the rest is the sum of what each part makes with the rest
                return tuple(p for part in row for p in self._flat((*part, *product[n + 1 :])))
            else:
                terms.append(self._last(term))
        return (_merged(terms),)

    def _known(self, term: Term) -> Row:
        atom, _ = term
        bound = None if atom == FIXED else self.bound[atom]
        return ((term,),) if bound is None else self.current(bound)

    def _last(self, term: Term) -> Term:
        """The last of atoms that stand for one another."""
        row = self.bound[term[0]]
        while row is not None and len(row) == 1 and len(row[0]) == 1:
            term = row[0][0]
            row = self.bound[term[0]]
        return term

    def atoms(self, row: Row) -> Iterator[Term]:
        """The atoms that a row is made of in the end, in order."""
        for product in self.current(row):
            for term in product:
                yield from self._within(term)

    def _within(self, term: Term) -> Iterator[Term]:
        atom, _ = term
        if atom == FIXED:
            return
        bound = self.bound[atom]
        if bound is None:
            yield term
        else:
            yield from self.atoms(bound)

    def freeze(self, row: Row, reason: str) -> None:
        """Keeps all channels of a row; the first reason stays."""
        for atom, _ in self.atoms(row):
            self.reasons[atom] = self.reasons[atom] or reason

    def times(self, outer: Row, inner: Row) -> Row:
        """The axis on which one row stands within the other."""
        outer, inner = self.current(outer), self.current(inner)
        within = inner[0] if len(inner) == 1 else (self._as_term(inner),)
        return self.current(tuple((*p, *within) for p in outer))

    def _as_term(self, row: Row) -> Term:
        (((atom, size),),) = self.new(length(row))
        self.bound[atom] = row
        return atom, size

    def cut(self, row: Row, at: int) -> tuple[Row, Row]:
        """The row before a place, and from it on."""
        products, left = self.current(row), at
        for n, p in enumerate(products):
            if left == 0:
                return products[:n], products[n:]
            if left < extent(p):
                first, second = self._cut(p, left)
                return (*products[:n], *first), (*second, *products[n + 1 :])
            left -= extent(p)
        return products, ()

    def _cut(self, product: Product, at: int) -> tuple[Row, Row]:
        outer, inner = product[0], product[1:]
        whole, rest = divmod(at, extent(inner))
        if not rest:
            first, second = self._cut_atom(outer, (whole, outer[1] - whole))
            return _each(first, inner), _each(second, inner)
        # one channel of the slowest factor is on both sides: it stays as it is, and what is within it is cut
        before, _, after = self._cut_atom(outer, (whole, 1, outer[1] - whole - 1))
        first, second = self.cut((inner,), rest)
        return (*_each(before, inner), *first), (*second, *_each(after, inner))

    def _cut_atom(self, term: Term, sizes: tuple[int, ...]) -> tuple[Row, ...]:
        """The parts of so many channels each, () for none; three parts have a fixed one in the middle."""
        atom, _ = term
        if atom == FIXED:
            return tuple(fixed(n) if n else () for n in sizes)
        parts = [self.new(n, self.reasons[atom]) if n else () for n in sizes]
        if len(parts) == 3:
            parts[1] = fixed(1)
        self.bound[atom] = tuple(p for part in parts for p in part)
        return tuple(parts)

    def split(self, row: Row, inner: int, why: str) -> tuple[Row, Row]:
        """The row as an outer axis and an inner one of so many places; both are fixed where that cannot be."""
        found = self._split_each(row, inner)
        if found is None and length(row) // inner <= MOST_COPIES:
            found = self._side_by_side(row, inner)
        if found is None:
            self.freeze(row, why)
            return fixed(length(row) // inner), fixed(inner)
        outers, inners = found
        for other in inners[1:]:
            self.join(inners[0], other, why)
        return tuple(p for outer in outers for p in outer), inners[0]

    def _split_each(self, row: Row, inner: int) -> tuple[list[Row], list[Row]] | None:
        """Every product of the row split at its fast end."""
        outers, inners = list[Row](), list[Row]()
        for product in self.current(row):
            p = self.current((product,))[0]  # the one before may have the same atoms
            if extent(p) % inner or not self._splits(p, inner):
                return None
            slow, fast = self._split(p, inner)
            outers.append((slow,))
            inners.append((fast,))
        return outers, inners

    def _side_by_side(self, row: Row, inner: int) -> tuple[list[Row], list[Row]] | None:
        """A sum cut into equal parts."""
        if len(self.current(row)) == 1:
            return None
        parts, rest = list[Row](), row
        while length(rest) > inner:
            first, rest = self.cut(rest, inner)
            parts.append(first)
        return [fixed(len(parts) + 1)], [*parts, rest]

    def _splits(self, product: Product, inner: int) -> bool:
        """Whether there is a border, or can be made one, before the last `inner` places."""
        left = inner
        for term in reversed(product):
            if left % term[1]:
                return self._divides(term, left)
            left //= term[1]
        return True

    def _divides(self, term: Term, size: int) -> bool:
        """Whether an atom can be made a product with a factor of this size."""
        atom, whole = term
        return size == 1 or (whole % size == 0 and (atom == FIXED or self.bound[atom] is None))

    def _split(self, product: Product, inner: int) -> tuple[Product, Product]:
        left = inner
        for n in reversed(range(len(product))):
            if left == 1:
                return product[: n + 1], product[n + 1 :] or ONE
            if left % product[n][1]:
                slow, fast = self._split_atom(product[n], left)
                return (*product[:n], slow), (fast, *product[n + 1 :])
            left //= product[n][1]
        return ONE, product

    def _split_atom(self, term: Term, inner: int) -> tuple[Term, Term]:
        """An atom as an outer and an inner one."""
        atom, size = term
        if atom == FIXED:
            return (FIXED, size // inner), (FIXED, inner)
        slow, fast = (self.part(n, self.reasons[atom])[0][0] for n in (size // inner, inner))
        self.bound[atom] = ((slow, fast),)
        return slow, fast

    def join(self, a: Row, b: Row, why: str) -> None:
        """Makes two rows of one length the same; what cannot be is frozen in both."""
        a, b = self.current(a), self.current(b)
        while a != b and a and b:
            if self._binds(a, b, why) or self._binds(b, a, why):
                return
            if len(a) == len(b) == 1:
                self._join_products(a[0], b[0], why)
                return
            size = min(extent(a[0]), extent(b[0]))
            (first, a), (second, b) = self.cut(a, size), self.cut(b, size)
            self.join(first, second, why)
            a, b = self.current(a), self.current(b)

    def _binds(self, a: Row, b: Row, why: str) -> bool:
        """Makes one row the other where it is a single atom; of two atoms the older one stays."""
        atom = a[0][0][0]
        if len(a) > 1 or len(a[0]) > 1 or atom == FIXED or self.bound[atom] is not None:
            return False
        others = [other for other, _ in self.atoms(b)]
        if not others:
            self.freeze(a, why)
            return True
        if len(b) == len(b[0]) == 1 and others == [b[0][0][0]] and others[0] > atom:
            return False
        if self.reasons[atom]:
            self.freeze(b, self.reasons[atom])
        self.bound[atom] = b
        return True

    def _join_products(self, p: Product, q: Product, why: str) -> None:
        """Goes along both from the slow end, and makes borders of one borders of the other."""
        while p != q and p and q:
            small, large = (p, q) if p[0][1] <= q[0][1] else (q, p)
            size, beside = small[0][1], large[0][1] // small[0][1]
            if large[0][1] == size:
                self._join_terms(small[0], large[0], why)
                p, q = small[1:], large[1:]
            elif large[0][1] % size == 0 and self._divides(large[0], beside):
                p, q = small, (*self._split_atom(large[0], beside), *large[1:])
            else:
                self.freeze((p,), why)
                self.freeze((q,), why)
                return

    def _join_terms(self, f: Term, g: Term, why: str) -> None:
        a, b = self.current(((f,),)), self.current(((g,),))
        if FIXED in (f[0], g[0]):
            self.freeze(a if g[0] == FIXED else b, why)
        elif a != b and not self._binds(a, b, why) and not self._binds(b, a, why):
            self.join(self._inside(a), self._inside(b), why)

    def _inside(self, row: Row) -> Row:
        """What a sum that stands as an atom is made of."""
        bound = self.bound[row[0][0][0]] if len(row) == len(row[0]) == 1 else None
        return row if bound is None else bound


ONE: Product = ((FIXED, 1),)
"""A single place."""


def _each(outer: Row, inner: Product) -> Row:
    return tuple((*p, *inner) for p in outer)


def _is_fixed(product: Product) -> bool:
    return all(atom == FIXED for atom, _ in product)


def _merged(terms: list[Term]) -> Product:
    """Neighbouring fixed numbers as one, and single places left out where there are others."""
    found: list[Term] = []
    for atom, size in terms:
        if size == 1:
            continue
        if atom == FIXED and found and found[-1][0] == FIXED:
            found[-1] = (FIXED, size * found[-1][1])
        else:
            found.append((atom, size))
    return tuple(found) or (terms[0] if len(terms) == 1 else (FIXED, 1),)
