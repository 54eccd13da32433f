"""One path: the same as ours."""

from django.urls import path

from tests.bench.apps.bare.views import Submit

urlpatterns = [path("api/documents/process", Submit.as_view())]
