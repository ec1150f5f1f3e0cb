"""A receiving mail server: smtp.py plain|starttls|tls PORT USER PASSWORD, messages as JSON files below ./mail.

certificate.pem and key.pem are read from the working directory. The local part of a recipient chooses what
happens to it: refused, later, stalled, swallowed; everybody else gets his mail.
"""

import asyncio
import json
import os
import socket
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Keep:
    def __init__(self):
        self.count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        person = address.split("@")[0]
        if person == "refused":
            return "550 5.1.1 no such mailbox"
        if person == "later":
            return "451 4.3.0 try again later"
        if person == "stalled":
            await asyncio.sleep(3600)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        login = session.auth_data.decode() if session.auth_data else ""
        message = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "login": login,
            "tls": session.ssl is not None or server.implicit,
            "content": envelope.original_content.decode("utf-8", "replace"),
        }
        name = os.path.join("mail", "%06d" % self.count)
        with open(name + ".part", "w", encoding="utf-8") as file:
            json.dump(message, file)
        os.rename(name + ".part", name + ".json")
        if any(r.startswith("swallowed@") for r in envelope.rcpt_tos):
            server.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        return "250 kept as %d" % self.count


class Server(SMTP):
    implicit = False


async def main():
    mode, port, user, password = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("certificate.pem", "key.pem")
    keep = Keep()
    Server.implicit = mode == "tls"

    def check(server, session, envelope, mechanism, given):
        good = given.login == user.encode() and given.password == password.encode()
        return AuthResult(success=good, handled=False, auth_data=given.login)

    def connection():
        return Server(
            keep,
            hostname="mail.test",
            enable_SMTPUTF8=True,
            tls_context=context if mode == "starttls" else None,
            require_starttls=mode == "starttls",
            authenticator=check,
            auth_required=mode != "plain",
            auth_require_tls=mode == "starttls",
        )

    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        connection, "127.0.0.1", port, ssl=context if mode == "tls" else None
    )
    async with listener:
        await listener.serve_forever()


asyncio.run(main())
