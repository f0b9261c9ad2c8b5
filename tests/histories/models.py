"""Registers whose versions only rise. The database itself writes down each version that is committed, and by whom."""

from __future__ import annotations

from typing import Any

from django.db import models


class Shelf(models.Model):
    """What registers stand on: written together with one of them, or alone."""

    version: Any = models.IntegerField(default=0)
    token: Any = models.BigIntegerField(default=0)


class Register(models.Model):
    """All balances together are nothing, whatever is moved."""

    shelf: Any = models.ForeignKey(Shelf, models.PROTECT)
    version: Any = models.IntegerField(default=0)
    token: Any = models.BigIntegerField(default=0)
    balance: Any = models.IntegerField(default=0)


class Note(models.Model):
    """A row that is not there until it is: a register's first is number 1, and none is left out."""

    register: Any = models.ForeignKey(Register, models.PROTECT)
    version: Any = models.IntegerField()
    token: Any = models.BigIntegerField()

    class Meta:
        unique_together = (("register", "version"),)


class Log(models.Model):
    """Written by triggers, so that it has what is committed and nothing else; none of its rows ever changes."""

    thing: Any = models.TextField()
    version: Any = models.IntegerField()
    token: Any = models.BigIntegerField()

    class Meta:
        indexes = (models.Index(fields=["thing"], name="histories_log_thing"),)


LOGGING = """
CREATE FUNCTION histories_logged() RETURNS trigger AS $$ BEGIN
    INSERT INTO histories_log (thing, version, token) VALUES (TG_ARGV[0] ||
        CASE TG_ARGV[0] WHEN 'n' THEN to_jsonb(NEW)->>'register_id' ELSE to_jsonb(NEW)->>'id' END,
        NEW.version, NEW.token);
    RETURN NEW;
END $$ LANGUAGE plpgsql;
CREATE TRIGGER logged AFTER UPDATE ON histories_register FOR EACH ROW EXECUTE FUNCTION histories_logged('r');
CREATE TRIGGER logged AFTER UPDATE ON histories_shelf FOR EACH ROW EXECUTE FUNCTION histories_logged('s');
CREATE TRIGGER logged AFTER INSERT ON histories_note FOR EACH ROW EXECUTE FUNCTION histories_logged('n');
"""
