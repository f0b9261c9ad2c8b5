"""Books in Django's admin: saving one there changes the cached pages just as the shop's own form does."""

from django.contrib import admin

from .models import Book


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ["title", "author", "genre", "price"]
    list_editable = ["price"]
    list_filter = ["genre"]
    search_fields = ["title", "author"]
