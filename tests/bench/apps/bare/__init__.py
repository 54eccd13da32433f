"""The least that Django REST framework can do to accept a submission durably, without any code of ours."""
