"""A day's worth of orders at a coffee supplier, made up by a seeded generator.

``python -m labkit.day`` writes ``data/orders/day.jsonl`` again: the same seed gives the same file.

- When: few at night, a peak at lunch, a higher and broader one in the evening.
- How much: most mean to spend around 100 EUR, log-normally spread; one café in eight buys in bulk,
  with the heavy tail of a Pareto distribution. About one order in five is above 300 EUR, and two
  pairs lie right at the line: 300.00 is not high-value, 300.01 is.
- What: a basket of products that adds up to the amount, to the cent.
"""

from __future__ import annotations

import json
import math
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

SEED = 2026
COUNT = 400
DAY = datetime(2026, 11, 20, tzinfo=UTC)
MU, SIGMA = math.log(100), 1.2  # of what people mean to spend, in EUR
FILE = Path(__file__).parent.parent / "data" / "orders" / "day.jsonl"

CATALOGUE = (
    ("FIL-100", "Paper filters, 100", "4.20"),
    ("BEA-250", "House blend, 250 g", "8.90"),
    ("DEC-001", "Descaler", "12.40"),
    ("CUP-006", "Espresso cups, set of 6", "21.75"),
    ("JUG-350", "Milk jug, 350 ml", "24.90"),
    ("BEA-1KG", "House blend, 1 kg", "29.50"),
    ("TAM-058", "Tamper, 58 mm", "34.00"),
    ("SCA-002", "Scale with timer", "39.95"),
    ("KET-100", "Gooseneck kettle", "79.90"),
    ("GRI-040", "Burr grinder", "189.00"),
    ("ESP-001", "Espresso machine", "649.00"),
    ("ESP-002", "Dual-boiler machine", "1899.00"),
)

CUSTOMERS = (
    ("Café Zoë", "Brussel", "BE"),
    ("Kaffeehaus Größenwahn", "Köln", "DE"),
    ("Boulangerie L'Été", "Orléans", "FR"),
    ("Kavárna Na Růžku", "Plzeň", "CZ"),
    ("Kawiarnia Żółw", "Łódź", "PL"),
    ("Kaffebaren Blåbær", "Tromsø", "NO"),
    ("Panificio Così", "Forlì", "IT"),
    ("Cafetería El Niño", "Logroño", "ES"),
    ("Pastelaria São João", "Évora", "PT"),
    ("Kávéház Őszi Eső", "Győr", "HU"),
    ("Καφενείο Η Ελιά", "Πάτρα", "GR"),
    ("Кафене Роза", "Пловдив", "BG"),
    ("Kahve Dünyam Şişli", "İzmir", "TR"),
    ("喫茶店 さくら", "京都", "JP"),
    ("카페 봄날", "부산", "KR"),
    ("قهوة النخيل", "تونس", "TN"),
    ('The "Third" Cup & Sons', "Cork", "IE"),
    ("Bean \\ Leaf", "Tallinn", "EE"),
    ("Office kitchen, 4th floor", "Vilnius", "LT"),
    ("Household", "Wien", "AT"),
    ("Household", "Ljubljana", "SI"),
    ("Household", "Malmö", "SE"),
    ("Household", "Utrecht", "NL"),
    ("Household 🏡", "Luxembourg", "LU"),
)

# Baskets at the line between an order and a high-value order: 300.00 and 300.01, twice each.
AT_THE_LINE = (
    [("GIF-300", "Gift card", 1, "300.00")],
    [("GRI-040", "Burr grinder", 1, "189.00"), ("SET-111", "Tasting set", 1, "111.01")],
    [("BEA-5KG", "House blend, 5 kg", 2, "150.00")],
    [("ESP-U01", "Espresso machine, refurbished", 1, "300.01")],
)


def generate(count: int = COUNT, seed: int = SEED, day: datetime = DAY) -> list[dict]:
    """The orders of one day by time, amounts as Decimal; the same arguments, the same orders."""
    rng = random.Random(seed)
    times = sorted(_moment(rng) for _ in range(count))
    line = dict(
        zip(rng.sample(range(count), min(count, len(AT_THE_LINE))), AT_THE_LINE, strict=False)
    )
    return [
        _order(rng, number, day + timedelta(seconds=seconds), line.get(number))
        for number, seconds in enumerate(times)
    ]


def to_lines(orders: list[dict]) -> bytes:
    """The orders as JSON lines in UTF-8, amounts with the digits they have."""
    return "".join(_text(order) + "\n" for order in orders).encode()


def _moment(rng: random.Random) -> int:
    """A second of the day: three in ten around lunch, five around the evening, two anywhen."""
    while True:
        kind = rng.random()
        if kind < 0.3:
            hour = rng.gauss(12.6, 0.8)
        elif kind < 0.8:
            hour = rng.gauss(19.4, 1.5)
        else:
            hour = rng.uniform(0, 24)
        if 0 <= hour < 24:
            return int(hour * 3600)


def _order(rng: random.Random, number: int, placed: datetime, fixed: list | None) -> dict:
    name, city, country = rng.choice(CUSTOMERS)
    bulk = not name.startswith("Household") and rng.random() < 1 / 8
    basket = fixed or _basket(rng, bulk)
    items = [
        {"Sku": sku, "Name": product, "Quantity": quantity, "UnitPrice": Decimal(price)}
        for sku, product, quantity, price in basket
    ]
    return {
        "OrderId": f"ORD-{placed:%Y%m%d}-{number + 1:04d}",
        "Amount": sum(item["Quantity"] * item["UnitPrice"] for item in items),
        "Currency": "EUR",
        "PlacedAt": placed.isoformat().replace("+00:00", "Z"),
        "Customer": {"Name": name, "City": city, "Country": country},
        "Items": items,
    }


def _basket(rng: random.Random, bulk: bool) -> list[tuple[str, str, int, str]]:
    """Products that together cost about as much as the customer means to spend."""
    left = min(180 * rng.paretovariate(0.9), 20_000) if bulk else rng.lognormvariate(MU, SIGMA)
    basket: dict[str, tuple[str, str, int, str]] = {}
    while len(basket) < 5:
        affordable = [row for row in CATALOGUE if float(row[2]) <= left and row[0] not in basket]
        if not affordable:
            break
        # Those who mean to spend much start with something dear.
        sku, product, price = rng.choice(affordable[-4:])
        most = int(left / float(price))
        quantity = rng.randint((most + 1) // 2, most) if bulk else min(most, rng.randint(1, 2))
        basket[sku] = (sku, product, quantity, price)
        left -= quantity * float(price)
    return list(basket.values()) or [(*CATALOGUE[0][:2], 1, CATALOGUE[0][2])]


def _text(value: object) -> str:
    if isinstance(value, Decimal):  # the json module would make it a float, and 300.00 300.0
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_bytes(to_lines(generate()))
    print(f"{COUNT} orders written to {FILE}")
