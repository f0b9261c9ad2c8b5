"""What a visitor may change about a book, and about a cart."""

from django import forms

from .models import Book


class BookForm(forms.ModelForm):
    class Meta:
        model = Book
        fields = ["title", "author", "price"]


class AddForm(forms.Form):
    copies = forms.IntegerField(min_value=1, max_value=9, initial=1)


class ChangeForm(forms.Form):
    copies = forms.IntegerField(min_value=0, max_value=99)
