using FolderRounds;
using Microsoft.Extensions.Hosting;

// the settings are found beside the program, wherever it is started from
HostApplicationBuilder builder = Host.CreateApplicationBuilder(new HostApplicationBuilderSettings { Args = args, ContentRootPath = AppContext.BaseDirectory });
builder.AddFolderRounds();
return await FolderRoundsHost.RunAsync(builder.Build());
