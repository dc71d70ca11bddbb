"""Months of sales work in Tryton's own code, at a clock that travels. Runs in Tryton's environment.

    python sales_office.py found <trytond.conf> <database>
    python sales_office.py work <trytond.conf> <database> <first day> <last day> <new deals a day> <seed>
    python sales_office.py late <trytond.conf> <database> <instant>

All changes go through Tryton's buttons and its client library; nothing is written into its tables.
"""

import copy
import random
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import time_machine
from proteus import Model, config
from trytond.modules.account.tests.tools import create_chart, create_tax, get_accounts
from trytond.modules.company.tests.tools import create_company, get_company

PASSWORD = "canary-tryton-41d2"
PEOPLE = ("Ada Moreno", "Bo Lindqvist", "Chiara Okafor", "Dev Patel")
CUSTOMERS = ("Acme Möbel", "Brightside", "Cobalt 三", "Delta & Sons", "Evergreen", "Fjord Shipping")
REASONS = ("price", "no budget", "chose a competitor", "")
LINES = (("Standard", "120.00"), ("Premium", "1480.50"), ("Setup", "75.25"))


def found() -> None:
    """A company with people, customers and products, a seller, and a guest without rights."""
    create_company(currency="EUR")
    create_chart()
    company, accounts = get_company(), get_accounts()
    new_party, new_employee, new_category = (
        Model.get(name) for name in ("party.party", "company.employee", "product.category")
    )
    employees = []
    for name in PEOPLE:
        party = new_party(name=name)
        party.save()
        employee = new_employee(party=party, company=company, start_date=date(2023, 1, 2))
        if employees:
            employee.supervisor = employees[0]
        employee.save()
        employees.append(employee)
    country = Model.get("country.country")(name="Netherlands", code="NL")
    country.save()
    for name in CUSTOMERS:
        party = new_party(name=name)
        party.save()
        party.addresses[0].country = country
        party.save()
    tax = create_tax(Decimal(".21"))
    tax.save()
    accounting = new_category(name="Sales", accounting=True, account_revenue=accounts["revenue"])
    accounting.customer_taxes.append(tax)
    accounting.save()
    family = new_category(name="Catalogue")
    family.save()
    unit = Model.get("product.uom").find([("name", "=", "Unit")])[0]
    for name, price in LINES:
        template = Model.get("product.template")(
            name=name, default_uom=unit, type="service", salable=True, list_price=Decimal(price)
        )
        template.account_category = accounting
        template.categories.append(new_category(family.id))
        template.save()
    groups, new_user = Model.get("res.group"), Model.get("res.user")
    guest = new_user(name="Gil Guest", login="guest", password=PASSWORD)
    guest.companies.append(company)
    guest.company = company
    guest.save()
    seller = new_user(name="Sam Seller", login="sam", password=PASSWORD)
    seller.companies.append(get_company())
    seller.company = company
    for group in groups.find([]):
        if group.name != "Administration":
            seller.groups.append(group)
    seller.employees.extend(new_employee.find([]))
    seller.save()


class Office:
    """Everyone at work. Chance decides who does what; the seed makes it the same every time."""

    def __init__(self, seed: int, clock: time_machine.Traveller) -> None:
        self.chance = random.Random(seed)
        self.clock = clock
        admin = config.get_config()
        seller = copy.copy(admin)  # a second pool of models would cost seconds
        seller.user = Model.get("res.user").find([("login", "=", "sam")])[0].id
        seller._user = "sam"
        self.users = [admin, seller]
        self.employees = Model.get("company.employee").find([])
        names = [("name", "in", CUSTOMERS)]
        self.customers = {u: Model.get("party.party", u).find(names) for u in self.users}
        self.products = {u: Model.get("product.product", u).find([]) for u in self.users}

    def day(self, day: date, new_deals: float) -> None:
        """One day: leads come in, and open deals move on."""
        count = int(new_deals) + (self.chance.random() < new_deals % 1)
        ids = [deal["id"] for deal in self.states() if self.is_busy(deal["state"])]
        jobs = [None] * count + ids
        # Late evenings, too: their business day depends on the time zone.
        moments = sorted(
            datetime.combine(day, time(5), UTC)
            + timedelta(microseconds=self.chance.randrange(1, 18 * 3_600_000_000))
            for _ in jobs
        )
        self.chance.shuffle(jobs)
        for moment, deal_id in zip(moments, jobs, strict=True):
            self.go_to(moment)
            user = self.chance.choice(self.users)
            if deal_id is None:
                self.new_lead(user)
            else:
                self.move(Model.get("sale.opportunity", user)(deal_id), user)
        if day.day == 15:
            self.hand_over()

    def states(self) -> list[dict[str, Any]]:
        deals = Model.get("sale.opportunity")
        return deals._proxy.search_read([], 0, None, [("id", "ASC")], ["state"], deals._config.context)

    def is_busy(self, state: str) -> bool:
        share = {"lead": 0.2, "opportunity": 0.2, "converted": 0.15}.get(state, 0.01)
        return self.chance.random() < share

    def go_to(self, moment: datetime) -> None:
        """Never back, and never a whole second (Tryton's SQLite cannot read those)."""
        moment = max(moment, datetime.now(UTC) + timedelta(microseconds=self.chance.randrange(1, 999)))
        if moment.microsecond == 0:
            moment += timedelta(microseconds=1)
        self.clock.move_to(moment)

    def wait(self, seconds: float) -> None:
        self.go_to(datetime.now(UTC) + timedelta(seconds=seconds))

    def new_lead(self, user: config.TrytondConfig) -> None:
        deal = Model.get("sale.opportunity", user)()
        deal.description = f"Lead of {datetime.now(UTC):%d %B}" if self.chance.random() < 0.9 else None
        if self.chance.random() < 0.5:
            deal.party = self.chance.choice(self.customers[user])
        if self.chance.random() < 0.4:
            deal.amount = Decimal(self.chance.randrange(100, 900000)) / 100
        deal.save()

    def move(self, deal: Model, user: config.TrytondConfig) -> None:
        getattr(self, f"from_{deal.state}")(deal, user)

    def from_lead(self, deal: Model, user: config.TrytondConfig) -> None:
        kind = self.chance.random()
        if kind < 0.6:
            self.prepare(deal, user)
            self.wait(self.chance.choice([2, 600]))
            deal.click("opportunity")
            if self.chance.random() < 0.1:  # a mis-drag
                self.wait(15)
                deal.click("lead")
                self.wait(15)
                deal.click("opportunity")
        elif kind < 0.72:
            self.lose(deal)
        elif kind < 0.85:
            deal.click("cancel")
        else:
            self.prepare(deal, user)
            deal.click("opportunity")
            self.wait(5)
            deal.click("convert")

    def from_opportunity(self, deal: Model, user: config.TrytondConfig) -> None:
        kind = self.chance.random()
        if kind < 0.35:
            self.edit(deal, user)
        elif kind < 0.75:
            deal.click("convert")
        elif kind < 0.9:
            self.lose(deal)
        elif kind < 0.96:
            deal.click("lead")
        else:
            deal.click("cancel")

    def from_converted(self, deal: Model, user: config.TrytondConfig) -> None:
        sales = [sale for sale in deal.sales if sale.state in ("draft", "quotation")]
        if not sales:
            return
        kind = self.chance.random()
        if kind < 0.25:
            sales[0].click("cancel")
            return
        if sales[0].state == "draft":
            sales[0].click("quote")
        if kind > 0.45:
            self.wait(self.chance.choice([30, 7200]))
            sales[0].click("confirm")

    def from_won(self, deal: Model, user: config.TrytondConfig) -> None:
        """A further sale opens the deal again."""
        if self.chance.random() < 0.5:
            sale = Model.get("sale.sale", user)(party=deal.party, origin=deal)
            line = sale.lines.new()
            line.product, line.quantity = self.products[user][0], 1
            sale.save()
            self.wait(60)
            sale.click("quote")

    def from_lost(self, deal: Model, user: config.TrytondConfig) -> None:
        if not deal.sales:
            deal.click("lead")

    def from_cancelled(self, deal: Model, user: config.TrytondConfig) -> None:
        if self.chance.random() < 0.3:
            deal.click("lead")
        elif not deal.sales:
            deal.delete()

    def prepare(self, deal: Model, user: config.TrytondConfig) -> None:
        deal.party = deal.party or self.chance.choice(self.customers[user])
        deal.employee = Model.get("company.employee", user)(self.chance.choice(self.employees).id)
        deal.amount = Decimal(self.chance.randrange(10_000, 5_000_000)) / 100
        deal.end_date = datetime.now(UTC).date() + timedelta(days=self.chance.randrange(10, 90))
        line = deal.lines.new()
        line.product = self.chance.choice(self.products[user])
        line.quantity = self.chance.randrange(1, 9)
        deal.save()

    def edit(self, deal: Model, user: config.TrytondConfig) -> None:
        kind = self.chance.random()
        if kind < 0.3:
            deal.end_date = (deal.end_date or datetime.now(UTC).date()) + timedelta(days=30)
        elif kind < 0.5:
            deal.amount = Decimal(self.chance.randrange(10_000, 5_000_000)) / 100
        elif kind < 0.6:
            deal.amount = None
        elif kind < 0.7:
            deal.employee = Model.get("company.employee", user)(self.chance.choice(self.employees).id)
        elif kind < 0.8:
            deal.conversion_probability = round(self.chance.random(), 2)
        elif kind < 0.9 and len(deal.lines) > 1:
            deal.lines.remove(deal.lines[0])
        else:
            deal.comment = "Called; nothing new."
        deal.save()

    def lose(self, deal: Model) -> None:
        deal.lost_reason = self.chance.choice(REASONS)
        deal.save()
        deal.click("lost")

    def hand_over(self) -> None:
        """Everything of one person goes to another in one transaction."""
        deals = Model.get("sale.opportunity")
        giver, taker = self.chance.sample(self.employees, 2)
        open_deals = deals.find([("employee", "=", giver.id), ("state", "=", "opportunity")])
        self.wait(60)
        if open_deals:
            ids = [deal.id for deal in open_deals]
            deals._proxy.write(ids, {"employee": taker.id}, deals._config.context)


def main(command: str, conf: str, database: str, *more: str) -> None:
    config.set_trytond(database, config_file=conf)
    if command == "late":
        # A transaction that began then, and ends only now.
        with time_machine.travel(datetime.fromisoformat(more[0]), tick=False):
            Model.get("sale.opportunity")(description="Late").save()
        return
    begin = date.fromisoformat(more[0]) if more else date(2025, 1, 2)
    with time_machine.travel(datetime.combine(begin, time(4, 0, 0, 1), UTC), tick=False) as clock:
        if command == "found":
            found()
            return
        last, new_deals, seed = date.fromisoformat(more[1]), float(more[2]), int(more[3])
        office = Office(seed, clock)
        for number in range((last - begin).days + 1):
            office.day(begin + timedelta(days=number), new_deals)


if __name__ == "__main__":
    main(*sys.argv[1:])
