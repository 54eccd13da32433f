"""Make the bucket that S3_BUCKET names, if it is not there yet: `python docker/make_bucket.py`, for development."""

import os
import sys

import boto3
from botocore.exceptions import ClientError


def main() -> int:
    bucket = os.environ["S3_BUCKET"]
    client = boto3.client(
        "s3",
        endpoint_url=os.environ["S3_ENDPOINT_URL"],
        aws_access_key_id=os.environ["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["S3_SECRET_ACCESS_KEY"],
        region_name="us-east-1",  # the only one in which S3 takes a bucket without a place
    )
    try:
        client.create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            sys.stderr.write(f"cannot make the bucket {bucket}: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
