"""Uses the client that openapi-python-client has made from the server's OpenAPI document."""

import os
import sys

from herenow_client import AuthenticatedClient
from herenow_client.api.channels import list_channels, query_channels, read_channel
from herenow_client.api.kicks import disconnect_user, kick_from_channel
from herenow_client.api.members import list_members, put_member, remove_member
from herenow_client.api.users import query_users, read_user
from herenow_client.models import (
    ChannelsQuery,
    Code,
    DisconnectRequest,
    KickConnection,
    KickUser,
    Problem,
    UsersQuery,
    Wanted,
    WantedState,
)

CHANNEL = "presence:generated/client é"


def main() -> None:
    client = AuthenticatedClient(base_url=sys.argv[1], token=os.environ["SERVICE_KEY"])
    state = WantedState.from_dict({"mood": "fine"})
    bot = Wanted(user_id="bot", state=state, ttl_ms=60_000)
    put = put_member.sync(CHANNEL, "bot-1", client=client, body=bot)
    assert put.created, put
    again = put_member.sync(CHANNEL, "bot-1", client=client, body=bot)
    assert not again.created and again.connection_id == put.connection_id, again

    listed = list_channels.sync(client=client, prefix="generated/", limit=10)
    assert [row.channel for row in listed.channels] == [CHANNEL] and listed.next_ is None, listed
    channel = read_channel.sync(CHANNEL, client=client)
    assert (channel.users, channel.connections) == (1, 1) and channel.epoch > 0, channel
    nobody = read_channel.sync("nobody", client=client)
    assert (nobody.users, nobody.epoch, nobody.seq) == (0, None, None), nobody
    asked = query_channels.sync(client=client, body=ChannelsQuery(channels=["nobody", CHANNEL]))
    assert [row.connections for row in asked.channels] == [0, 1], asked

    members = list_members.sync(CHANNEL, client=client)
    (member,) = members.presences
    assert member.connection_id == put.connection_id and member.user_id == "bot", member
    assert member.state.to_dict() == {"mood": "fine"} and member.since.year >= 2026, member
    user = read_user.sync("bot", client=client)
    assert [row.channel for row in user.channels] == [CHANNEL], user
    here = query_users.sync(client=client, body=UsersQuery(user_ids=["bot", "jane"]))
    assert [(row.user_id, row.connections) for row in here.users] == [("bot", 1)], here

    for kick in (KickUser(user_id="jane"), KickConnection(connection_id="A" * 22, for_ms=0)):
        assert kick_from_channel.sync(CHANNEL, client=client, body=kick).connections == 0
    assert disconnect_user.sync("jane", client=client, body=DisconnectRequest()).connections == 0

    removed = remove_member.sync_detailed(CHANNEL, "bot-1", client=client)
    assert removed.status_code == 204, removed
    gone = remove_member.sync(CHANNEL, "bot-1", client=client)
    assert isinstance(gone, Problem) and gone.code == Code.NOT_FOUND, gone
    wrong = AuthenticatedClient(base_url=sys.argv[1], token="wrong")
    refused = list_channels.sync(client=wrong)
    assert isinstance(refused, Problem) and refused.status == 401, refused
    print("the generated client works")


main()
