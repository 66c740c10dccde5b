"""Tests of the polls."""

import os
import tempfile
from datetime import timedelta
from unittest import mock

from django.core.checks import run_checks
from django.test import Client, TestCase
from django.urls import reverse
from django.utils import timezone

from .models import Choice, Question


class PagesTest(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.question = Question.objects.create(text="Tea or coffee?")
        cls.tea = cls.question.choices.create(text="Tea")
        cls.coffee = cls.question.choices.create(text="Coffee", votes=3)
        cls.later = Question.objects.create(text="Too early", published_at=timezone.now() + timedelta(days=1))

    def vote(self, choice, client=None):
        url = reverse("polls:vote", args=[self.question.pk])
        return (client or self.client).post(url, {"choice": choice}, follow=True)

    def test_index_lists_what_is_published(self):
        response = self.client.get("/")
        self.assertContains(response, "Tea or coffee?")
        self.assertContains(response, "3 votes")
        self.assertNotContains(response, "Too early")
        self.assertNotContains(response, "you voted")

    def test_unpublished_question_is_not_found(self):
        self.assertEqual(self.client.get(self.later.get_absolute_url()).status_code, 404)

    def test_vote_is_counted_and_remembered(self):
        response = self.vote(self.tea.pk)
        self.assertRedirects(response, reverse("polls:results", args=[self.question.pk]))
        self.assertContains(response, "your vote is in")
        self.assertContains(response, "your vote</small>")
        self.tea.refresh_from_db()
        self.assertEqual(self.tea.votes, 1)
        self.assertContains(self.client.get("/"), "you voted")
        self.assertRedirects(self.client.get(self.question.get_absolute_url()), response.redirect_chain[-1][0])

    def test_second_vote_is_refused_and_another_visitor_may_vote(self):
        self.vote(self.tea.pk)
        self.assertContains(self.vote(self.tea.pk), "already")
        self.vote(self.tea.pk, client=Client())
        self.tea.refresh_from_db()
        self.assertEqual(self.tea.votes, 2)

    def test_vote_without_a_choice_of_this_question_is_refused(self):
        stranger = self.later.choices.create(text="Neither")
        for choice in ["", "x", stranger.pk, 10**30]:
            with self.subTest(choice=choice):
                self.assertContains(self.vote(choice), "Pick one of the answers")
        self.assertFalse(Choice.objects.filter(pk=stranger.pk, votes__gt=0).exists())

    def test_vote_needs_the_csrf_token(self):
        client = Client(enforce_csrf_checks=True)
        self.assertEqual(self.vote(self.tea.pk, client=client).status_code, 403)

    def test_api_lists_questions_with_their_choices(self):
        (question,) = self.client.get("/api/questions").json()["questions"]
        self.assertEqual(question["text"], "Tea or coffee?")
        self.assertEqual([choice["votes"] for choice in question["choices"]], [0, 3])

    def test_stylesheet_is_served(self):
        response = self.client.get("/static/polls/polls.css")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response["Content-Type"], "text/css")


class DemoFixtureTest(TestCase):
    fixtures = ["demo"]

    def test_demo_user_sees_the_admin_pages(self):
        self.assertTrue(self.client.login(username="demo", password="demo"))
        for page in ["index", "polls_question_changelist", "polls_question_add", "polls_choice_changelist"]:
            with self.subTest(page=page):
                self.assertEqual(self.client.get(reverse(f"admin:{page}")).status_code, 200)

    def test_every_question_has_choices_and_is_shown(self):
        response = self.client.get("/")
        for question in Question.objects.all():
            self.assertGreaterEqual(question.choices.count(), 2)
            self.assertContains(response, question.text, html=False)


class ChecksTest(TestCase):
    def test_probe_is_red_while_its_file_exists(self):
        for tag, variable, check_id in [
            ("liveness", "POLLS_LIVENESS_FAIL", "polls.E001"),
            ("readiness", "POLLS_READINESS_FAIL", "polls.E002"),
        ]:
            with self.subTest(tag=tag), tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "fail")
                with mock.patch.dict(os.environ, {variable: path}):
                    self.assertEqual(run_checks(tags=[tag]), [])
                    with open(path, "w"):
                        pass
                    self.assertEqual([message.id for message in run_checks(tags=[tag])], [check_id])
                    os.remove(path)
                    self.assertEqual(run_checks(tags=[tag]), [])

    def test_warning_is_no_error(self):
        with mock.patch.dict(os.environ, {"POLLS_WARN": "1"}):
            (message,) = run_checks(tags=["readiness"])
        self.assertFalse(message.is_serious())
